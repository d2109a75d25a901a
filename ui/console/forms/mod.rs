//! Where text is typed: one field a line, the error under the field while one types.

pub mod connect;
mod fields;
pub mod guild;
pub mod input;
pub mod submit;
pub mod view;
