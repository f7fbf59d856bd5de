//! Every reader of logs, fed with what no reader hopes for: any bytes, and logs that were damaged.
//!
//! `PROPTEST_CASES` says how many cases of each there are; `tests/fuzz/run` tries new ones for as long as one likes.

mod account;
mod damage;
mod endless;
mod readers;
mod survival;
