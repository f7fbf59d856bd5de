//! Plain facts of a run, between running and judging: events, the stories they join into, and the
//! figures that are folded from them as they come, in memory that does not grow with the run.

pub mod audit;
pub mod bridge;
pub mod chance;
pub mod closing;
pub mod cost;
pub mod event;
pub mod evidence;
pub mod harm;
pub mod history;
pub mod join;
pub mod latency;
pub mod machine;
pub mod meta;
pub mod orders;
pub mod shares;
pub mod story;
pub mod streams;
pub mod summary;
pub mod timeline;
