//! What is sent and when: a [`source::Source`] hands out planned requests one by one.

pub mod arrivals;
pub mod body;
pub mod caller;
pub mod cancel;
pub mod course;
pub mod format;
pub mod generated;
pub mod history;
pub mod log;
pub mod pace;
pub mod replay;
pub mod source;
pub mod spacing;
pub mod synthetic;
pub mod users;
