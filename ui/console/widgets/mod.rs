//! What panes, details and forms are drawn with. Everything here is a plain function of its arguments.

pub mod bar;
pub mod boxed;
pub mod columns;
pub mod text;
