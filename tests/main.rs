mod arrows;
mod console;
mod documents;
mod execution;
mod interop;
mod pty;
