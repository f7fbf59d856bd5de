//! Numerics behind the verdicts, each with its source. Pure functions, no state.

pub mod allowance;
pub mod beta;
pub mod compare;
pub mod confidence;
pub mod difference;
pub mod evidence;
pub mod histogram;
pub mod multinomial;
pub mod normal;
pub mod proportion;
pub mod quantile;
pub mod quantile_difference;
pub mod samples;
pub mod silence;
pub mod sprt;
pub mod waiting;
