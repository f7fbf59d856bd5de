//! Every gate: when it passes, fails, cannot tell, and is not to be trusted.

mod attribution;
mod census;
mod closed_again;
mod contract;
mod cost;
mod in_ledgers;
mod measurement;
mod notification;
mod play;
mod policy;
mod ramp;
mod rate_limit;
mod reopened;
mod retries;
mod retry_budget;
mod rollback;
mod split;
mod stickiness;
mod streams;
