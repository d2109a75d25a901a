mod execution;
