//! The sequential judge: its error rates against the published table, what it must not be fooled by,
//! when it lets a step be promoted, and a slow reference that says the same. And how often intervals hold the truth.

mod alarm;
mod dice;
mod lab;
mod manners;
mod promotion;
mod quantiles;
mod reference;
mod rules;
mod same_as_reference;
mod table;
mod traps;
