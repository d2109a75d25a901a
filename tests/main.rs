mod console;
mod execution;
mod pty;
