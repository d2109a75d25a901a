mod arrows;
mod documents;
mod execution;
mod interop;
