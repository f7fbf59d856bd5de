//! What is sent and when: a [`source::Source`] hands out planned requests one by one.

pub mod arrivals;
pub mod body;
pub mod caller;
pub mod format;
pub mod replay;
pub mod source;
pub mod synthetic;
