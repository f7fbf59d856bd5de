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

#[cfg(test)]
pub(crate) mod testing {
    //! What the tests of readers share.

    use super::diagnostic::{Problems, Source};
    use super::fields::Cx;
    use super::node::Node;
    use super::yaml;

    /// What a reader makes of a text, or all that it says is wrong with it.
    pub(crate) fn read<T>(
        text: &str,
        reader: impl FnOnce(Cx<'_>, &Node) -> Option<T>,
    ) -> Result<T, String> {
        let source = Source::new("t.yaml", text);
        let problems = Problems::default();
        let cx = Cx {
            source: &source,
            problems: &problems,
        };
        let node = yaml::parse(&source).map_err(|d| d.to_string())?;
        let read = reader(cx, &node).filter(|_| !problems.has_errors());
        read.ok_or_else(|| problems.into_diagnostics().to_string())
    }
}
