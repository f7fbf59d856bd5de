//! The router core against a slow reference, and its promises one by one.

mod any_release;
mod choosing;
mod closed_for_a_while;
mod defects;
mod limiting;
mod reference;
mod release;
mod release_checkpoints;
mod release_ramp;
mod release_store;
mod release_under_way;
mod release_waiting;
mod rig;
mod same_as_reference;
mod scripts;
