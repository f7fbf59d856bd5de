//! What traffic costs: the articles' own sums, through the public API and through the program.

#[path = "../support/mod.rs"]
mod support;

mod articles;
