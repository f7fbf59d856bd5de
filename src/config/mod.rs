//! Files that people write: YAML with places, decoded with *all* mistakes at once.
//!
//! [`yaml`] parses text into [`node::Node`]s that know where they stand; [`fields`] and [`values`]
//! decode them, and put every mistake into [`diagnostic::Problems`] with its place, the expected
//! form and a hint. [`router_file`] reads router configurations, for scenarios and for `serve`;
//! [`router_text`] writes them.

pub mod diagnostic;
pub mod fields;
pub mod judge;
pub mod limits;
pub mod node;
pub mod prices;
pub mod redact;
pub mod release;
pub mod router_file;
pub mod router_text;
pub mod values;
pub mod versions;
pub mod yaml;
