//! docs/fidelity.csv: all runs, two rows a pair, below what is known of the machine.

use std::collections::BTreeMap;

use crate::catalogue::ALL;
use crate::figures::{Counts, Figures, Measure};
use crate::playing::Pair;

/// Where it is.
pub(crate) const PATH: &str = "docs/fidelity.csv";

/// All pairs, and where they were measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table {
    /// Facts of the measurement by name, with the fingerprints of the scenarios.
    pub(crate) facts: BTreeMap<String, String>,
    /// By the order of the catalogue and the seed.
    pub(crate) pairs: Vec<Pair>,
}

impl Table {
    /// The pairs of a case, by seed.
    pub(crate) fn of(&self, case: &str) -> Vec<&Pair> {
        self.pairs.iter().filter(|pair| pair.case == case).collect()
    }

    /// A fact, or a dash.
    pub(crate) fn fact(&self, name: &str) -> &str {
        self.facts.get(name).map_or("–", String::as_str)
    }
}

/// The fingerprints of the scenarios as they are: who measured others must measure again.
pub(crate) fn fingerprints() -> impl Iterator<Item = (String, String)> {
    ALL.iter().map(|case| {
        let sha256 = case.scenario().sha256;
        (format!("scenario {}", case.name), sha256[..8].to_owned())
    })
}

fn header() -> Vec<String> {
    let own = ["scenario", "seed", "engine", "repeats", "parted"];
    let own = own.into_iter().chain(Measure::ALL.map(Measure::name));
    own.chain(["outcomes", "gates"])
        .map(str::to_owned)
        .collect()
}

/// The file.
pub(crate) fn write(table: &Table) -> String {
    let mut text = String::new();
    for (name, value) in &table.facts {
        text += &format!("# {name}: {value}\n");
    }
    text += &header().join(",");
    text.push('\n');
    for pair in &table.pairs {
        for (engine, figures) in [("virtual", &pair.simulated), ("live", &pair.live)] {
            text += &row(pair, engine, figures).join(",");
            text.push('\n');
        }
    }
    text
}

fn row(pair: &Pair, engine: &str, figures: &Figures) -> Vec<String> {
    let mut cells = vec![pair.case.clone(), pair.seed.to_string(), engine.to_owned()];
    cells.extend([pair.repeats.to_string(), pair.parted.to_string()]);
    let value = |measure: &Measure| figures.values.get(measure).map(f64::to_string);
    cells.extend(Measure::ALL.iter().map(|m| value(m).unwrap_or_default()));
    let counts = figures.counts.iter();
    let counts = counts.map(|((who, outcome), n)| format!("{who} {outcome} {n}"));
    cells.push(counts.collect::<Vec<_>>().join("; "));
    let gates = figures.gates.iter();
    let gates = gates.map(|(gate, said)| format!("{gate} {said}"));
    cells.push(gates.collect::<Vec<_>>().join("; "));
    cells
}

/// What is in a file that [`write`] wrote.
pub(crate) fn read(text: &str) -> Table {
    let (facts, rows): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with("# "));
    let fact = |line: &str| {
        let (name, value) = line.trim_start_matches("# ").split_once(": ")?;
        Some((name.to_owned(), value.to_owned()))
    };
    assert_eq!(rows.first().copied(), Some(header().join(",").as_str()));
    Table {
        facts: facts.into_iter().filter_map(fact).collect(),
        pairs: rows[1..].chunks_exact(2).map(read_pair).collect(),
    }
}

fn read_pair(rows: &[&str]) -> Pair {
    let cells: Vec<&str> = rows[0].split(',').collect();
    let number = |cell: &str| cell.parse().expect("a number");
    Pair {
        case: cells[0].to_owned(),
        seed: number(cells[1]),
        repeats: number(cells[3]),
        parted: number(cells[4]),
        simulated: read_figures(rows[0]),
        live: read_figures(rows[1]),
    }
}

fn read_figures(row: &str) -> Figures {
    let cells: Vec<&str> = row.split(',').skip(5).collect();
    let (values, texts) = cells.split_at(Measure::ALL.len());
    let value = |(measure, cell): (Measure, &&str)| Some((measure, cell.parse().ok()?));
    Figures {
        values: Measure::ALL
            .into_iter()
            .zip(values)
            .filter_map(value)
            .collect(),
        counts: entries(texts[0]).filter_map(count).collect::<Counts>(),
        gates: entries(texts[1])
            .filter_map(|entry| entry.rsplit_once(' '))
            .map(|(gate, said)| (gate.to_owned(), said.to_owned()))
            .collect(),
    }
}

fn entries(cell: &str) -> impl Iterator<Item = &str> {
    cell.split("; ").filter(|entry| !entry.is_empty())
}

fn count(entry: &str) -> Option<((String, String), u64)> {
    let (of, n) = entry.rsplit_once(' ')?;
    let (who, outcome) = of.split_once(' ')?;
    Some(((who.to_owned(), outcome.to_owned()), n.parse().ok()?))
}

#[test]
fn a_table_is_read_as_it_was_written() {
    let figures = |detection: Option<f64>| Figures {
        values: detection
            .map(|d| (Measure::Detection, d))
            .into_iter()
            .collect(),
        counts: [(("callers".to_owned(), "server_error".to_owned()), 3)].into(),
        gates: [("requests#2".to_owned(), "pass".to_owned())].into(),
    };
    let table = Table {
        facts: [("date".to_owned(), "2026-01-02: noon".to_owned())].into(),
        pairs: vec![Pair {
            case: "x".to_owned(),
            seed: 4,
            repeats: 1,
            parted: 2,
            simulated: figures(Some(12.345)),
            live: figures(None),
        }],
    };
    assert_eq!(read(&write(&table)), table);
}
