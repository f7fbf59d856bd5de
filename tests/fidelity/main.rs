//! Virtual predicts live: how well a virtual run tells what a live run of the same scenario and seed will show.
//!
//! The [`catalogue`] has twelve short scenarios. Each is run on both engines with the same seed, and what came out is put
//! side by side ([`figures`], [`agreement`]). What may differ, and by how much, is fixed in [`tolerance`].
//!
//! `docs/fidelity.csv` has the figures of twelve scenarios by twenty seeds, and `docs/fidelity.md` is what they say. Both
//! are written by `cargo test --release --test fidelity -- --ignored write_the_page`, or by `tests/fidelity/run`, which fails
//! when something is out of tolerance.

mod agreement;
mod catalogue;
mod checks;
mod figures;
mod full;
mod page;
mod playing;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod tolerance;
mod words;
