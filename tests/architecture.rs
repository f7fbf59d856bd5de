//! The map in ARCHITECTURE.md, enforced: arrows between modules, crates that layers may not use, and
//! a first line in every file that says what it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Modules by layer. A module may use those of lower layers.
const LAYERS: [&[&str]; 7] = [
    &[
        "time",
        "id",
        "rng",
        "stats",
        "canonical",
        "protocol",
        "pricing",
    ],
    &["router", "upstream", "fault", "traffic"],
    &["observe", "config", "experiment"],
    &["sim", "live", "audit", "verdict"],
    &["scenario", "report", "progress"],
    &["runner", "comparison"],
    &["cli"],
];

/// Arrows within a layer, all there are.
const BESIDE: [(&str, &str); 4] = [
    ("rng", "id"),
    ("stats", "time"),
    ("pricing", "protocol"),
    ("fault", "upstream"),
];

/// Arrows that point down and are forbidden all the same: what judges and reports must not know what
/// it judges.
const NEVER: [(&str, &str); 9] = [
    ("verdict", "router"),
    ("report", "router"),
    ("report", "sim"),
    ("report", "live"),
    ("report", "audit"),
    ("progress", "router"),
    ("progress", "sim"),
    ("progress", "live"),
    ("progress", "audit"),
];

/// What pure layers may not touch: clocks, sockets, files, threads, the async runtime.
const IMPURE: [&str; 11] = [
    "tokio",
    "hyper",
    "wiremock",
    "rustix",
    "ctrlc",
    "std::net",
    "std::fs",
    "std::thread",
    "std::env",
    "std::process",
    "jiff::Timestamp::now",
];
const PURE: [&str; 17] = [
    "pricing",
    "canonical",
    "time",
    "id",
    "rng",
    "stats",
    "protocol",
    "router",
    "upstream",
    "fault",
    "traffic",
    "observe",
    "config",
    "experiment",
    "sim",
    "audit",
    "verdict",
];

struct File {
    path: PathBuf,
    module: String,
    text: String,
}

fn sources() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &root, &mut files);
    assert!(files.len() > 80, "the sources are there");
    files
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<File>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
            continue;
        }
        let inner = path.strip_prefix(root).unwrap();
        let first = inner.components().next().unwrap().as_os_str();
        let module = first.to_string_lossy().trim_end_matches(".rs").to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        files.push(File { path, module, text });
    }
}

/// The code of a file without its comments.
fn code(file: &File) -> String {
    let lines = file.text.lines();
    let without = lines.map(|l| l.split("//").next().unwrap_or_default());
    without.collect::<Vec<_>>().join("\n")
}

/// The top modules that a file uses.
fn uses(file: &File) -> BTreeSet<String> {
    let code = code(file);
    let paths = code.split("crate::").skip(1);
    paths
        .map(|rest| {
            rest.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        })
        .collect()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

#[test]
fn every_module_is_on_the_map() {
    let modules: BTreeSet<String> = sources()
        .into_iter()
        .map(|f| f.module)
        .filter(|m| m != "lib" && m != "main")
        .collect();
    let mapped: BTreeSet<String> = LAYERS
        .iter()
        .copied()
        .flatten()
        .map(|m| (*m).to_owned())
        .collect();
    assert_eq!(modules, mapped);
    let architecture = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(architecture).unwrap();
    for module in modules {
        assert!(
            text.contains(&format!("`{module}")),
            "ARCHITECTURE.md does not know `{module}`"
        );
    }
}

#[test]
fn arrows_point_down() {
    let mut wrong = Vec::new();
    for file in sources() {
        let Some(own) = layer(&file.module) else {
            continue;
        };
        for used in uses(&file).into_iter().filter(|u| *u != file.module) {
            let arrow = (file.module.as_str(), used.as_str());
            let Some(other) = layer(&used) else {
                wrong.push(format!("{}: unknown module {used}", file.path.display()));
                continue;
            };
            let is_allowed = other < own || BESIDE.contains(&arrow);
            if !is_allowed || NEVER.contains(&arrow) {
                wrong.push(format!(
                    "{}: {} may not use {used}",
                    file.path.display(),
                    file.module
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_router_s_events_are_known_to_one_bridge_only() {
    for file in sources().iter().filter(|f| f.module == "observe") {
        let uses_router = uses(file).contains("router");
        let is_bridge = file.path.ends_with("observe/bridge.rs");
        assert_eq!(uses_router, is_bridge, "{}", file.path.display());
    }
}

#[test]
fn pure_layers_touch_no_clock_socket_file_or_thread() {
    let mut wrong = Vec::new();
    for file in sources()
        .iter()
        .filter(|f| PURE.contains(&f.module.as_str()))
    {
        let code = code(file);
        for name in IMPURE {
            let path = format!("{name}::");
            if code.contains(&path) || code.contains(&format!("use {name};")) {
                wrong.push(format!("{} uses {name}", file.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_says_what_it_is() {
    for file in sources() {
        assert!(
            file.text.starts_with("//! "),
            "{} does not start with //!",
            file.path.display()
        );
    }
}

/// Files and functions stay small; what grows past this wants splitting by meaning.
#[test]
fn files_keep_their_size() {
    let mut sizes: BTreeMap<usize, PathBuf> = BTreeMap::new();
    for file in sources() {
        let code = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        sizes.insert(code.lines().count(), file.path);
    }
    let (largest, path) = sizes.last_key_value().unwrap();
    assert!(
        *largest <= 520,
        "{} has {largest} lines without its tests",
        path.display()
    );
}
