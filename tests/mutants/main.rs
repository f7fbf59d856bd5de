//! Mutants: routers with one defect each, and the shipped scenarios that must catch them.
//!
//! Every mutant of the [`catalogue`] says what is wrong with it, where the defect is known from, and which gate of
//! which shipped scenario must fail for which reason. *Boundary* mutants are decorators of the real core that rewrite
//! what goes in and comes out, or hand it another configuration. *Inner* mutants are switches in a second router, a
//! literal port of the articles' sketches.
//!
//! `docs/mutants.md` is the scoreboard, written by
//! `cargo test --release --test mutants -- --ignored write_the_scoreboard`; `tests/mutants/soak` runs every mutant
//! over thousands of seeds.

mod board;
mod boundary;
mod broken;
mod catalogue;
mod checks;
mod inner;
mod live;
mod page;
mod playing;
mod soak;
#[path = "../support/mod.rs"]
mod support;
