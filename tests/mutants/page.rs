//! docs/mutants.md as text, and what can be read from it again.

use std::collections::BTreeSet;

use crate::board::Cells;
use crate::catalogue::{Kind, Mutant, Source};
use crate::support::{SHIPPED, shipped};

const HEAD: &str = "# Mutants

Routers with one defect each, and the shipped scenarios that catch them. *Boundary* mutants are the real core behind a
decorator that rewrites what goes in or comes out, or with another configuration than its file says
(`tests/mutants/boundary/`). *Inner* mutants are switches in a second router, a literal port of the articles' sketches
(`tests/mutants/inner/`); without any of them it passes the scenarios that it is run in.

Written by `cargo test --release --test mutants -- --ignored write_the_scoreboard`, or `refresh_the_scoreboard` for what is new. CI runs every mutant through the
scenario that is named first with four seeds and through the others that are named with their own, and fails if one of
them is not caught by that gate for that reason, or if this page is out of date. `tests/mutants/soak` runs each of them
over thousands of seeds; [mutants-soak.md](mutants-soak.md) has the figures. Inconclusive is not caught.

Known from: *defect n* is one of the fifteen of the articles ([defects.md](defects.md)), *F n: m* is entry m of the failure
catalogue in family n (public issues of other gateways), *own* was thought of here.
";

const BOARD: &str = "
## The board

A row is a mutant, a column a scenario with its own seed. A letter is a gate that failed there, in bold where it must; `·` is
a scenario that stayed green (or inconclusive), which is as it should be wherever the defect cannot show; an empty cell was
not run: the scenario has more than 50,000 requests and is not named for this mutant, or the port does not pass there even without
a defect.
";

/// The letters of the gates.
const LETTERS: [(&str, char); 19] = [
    ("split", 'S'),
    ("fallback", 'F'),
    ("rollback", 'R'),
    ("no_rollback", 'N'),
    ("after_rollback", 'A'),
    ("notification", 'L'),
    ("requests", 'Q'),
    ("stream", 'T'),
    ("retries", 'Y'),
    ("rate_limit", 'W'),
    ("stickiness", 'U'),
    ("attribution", 'B'),
    ("ramp", 'G'),
    ("promotion", 'G'),
    ("cost", 'C'),
    ("contract", 'K'),
    ("memory", 'M'),
    ("policy", 'P'),
    ("join", 'J'),
];

fn letter(gate: &str) -> char {
    let name = gate.split('#').next().unwrap_or_default();
    let known = LETTERS.iter().find(|(own, _)| *own == name);
    known.map_or('?', |(_, letter)| *letter)
}

fn gates_of(letter: char) -> &'static str {
    let known = LETTERS.iter().find(|(_, own)| *own == letter);
    known.map_or("", |(gate, _)| gate)
}

/// The page.
pub(crate) fn write(mutants: &[Mutant], cells: &Cells) -> String {
    let mut page = HEAD.to_owned();
    page += &counted(mutants);
    for (kind, title) in [
        (Kind::Boundary, "Boundary mutants"),
        (Kind::Inner, "Inner mutants"),
    ] {
        page += &format!("\n## {title}\n\n");
        page += "| mutant | a router that … | known from | caught by |\n|---|---|---|---|\n";
        let own = mutants.iter().filter(|m| m.kind == kind);
        own.for_each(|mutant| page += &catalogued(mutant));
    }
    page += BOARD;
    page += &columns();
    page += &board(mutants, cells);
    page
}

fn counted(mutants: &[Mutant]) -> String {
    let of = |kind| mutants.iter().filter(|m| m.kind == kind).count();
    let defects: BTreeSet<u8> = mutants
        .iter()
        .filter_map(|m| match m.source {
            Source::Defect(n) => Some(n),
            _ => None,
        })
        .collect();
    let families = mutants.iter().filter_map(|m| match m.source {
        Source::Entries(_, family) | Source::Family(family) => Some(family),
        _ => None,
    });
    let of_families = families.clone().count();
    let families: BTreeSet<u8> = families.collect();
    format!(
        "\n{} mutants: {} of the boundary, {} of the port. {} of the fifteen defects, and {of_families} mutants of {} \
         families of the failure catalogue.\n",
        mutants.len(),
        of(Kind::Boundary),
        of(Kind::Inner),
        defects.len(),
        families.len(),
    )
}

fn catalogued(mutant: &Mutant) -> String {
    let catches = mutant.caught.iter().map(|catch| {
        let (scenario, gate, about) = (catch.scenario, catch.gate, catch.about);
        format!("{scenario}: `{gate}` (\"{about}\")")
    });
    let catches: Vec<String> = catches.collect();
    // A bar would end the cell.
    let says = mutant.says.replace('|', "\\|");
    let (id, source) = (mutant.id, mutant.source);
    format!("| {id} | {says} | {source} | {} |\n", catches.join("<br>"))
}

/// The scenarios with their numbers. A file that changed makes the page out of date.
fn columns() -> String {
    let mut text = String::new();
    for (number, name) in (1..).zip(SHIPPED) {
        text += &format!("\n{number}. {}", column(name));
    }
    let gates: Vec<String> = LETTERS
        .iter()
        .map(|(gate, letter)| format!("{letter} `{gate}`"))
        .collect();
    format!("{text}\n\n{}.\n", gates.join(", "))
}

/// A scenario with the beginning of its hash.
fn column(name: &str) -> String {
    format!("{name} ({})", &shipped(name).sha256[..8])
}

/// The columns of a page, in their order: names and hashes.
fn columns_of(page: &str) -> Vec<&str> {
    let legend = page.lines().skip_while(|line| !line.starts_with("1. "));
    let numbered = legend.map_while(|line| line.split_once(". "));
    numbered.map(|(_, column)| column).collect()
}

fn board(mutants: &[Mutant], cells: &Cells) -> String {
    let numbers: Vec<String> = (1..=SHIPPED.len()).map(|n| n.to_string()).collect();
    let mut text = format!("\n| | {} |\n", numbers.join(" | "));
    text += &format!("|---|{}\n", "---|".repeat(SHIPPED.len()));
    for mutant in mutants {
        let row = SHIPPED.map(|name| shown(mutant, name, cells));
        text += &format!("| {} | {} |\n", mutant.id, row.join(" | "));
    }
    text
}

fn shown(mutant: &Mutant, name: &str, cells: &Cells) -> String {
    let key = (mutant.id.to_owned(), name.to_owned());
    let Some(Some(red)) = cells.get(&key) else {
        return String::new();
    };
    let red: BTreeSet<char> = red.iter().map(|gate| letter(gate)).collect();
    let due = mutant.caught.iter().filter(|c| c.scenario == name);
    let due: BTreeSet<char> = due.map(|catch| letter(catch.gate)).collect();
    let letters = red.iter().map(|letter| match due.contains(letter) {
        true => format!("**{letter}**"),
        false => letter.to_string(),
    });
    let text: String = letters.collect();
    if text.is_empty() {
        "·".to_owned()
    } else {
        text
    }
}

/// The cells of a page, but for those of scenarios that changed since.
pub(crate) fn read_unchanged(page: &str) -> Cells {
    let columns = columns_of(page);
    let is_same = |name: &str| columns.contains(&column(name).as_str());
    let same: BTreeSet<&str> = SHIPPED.into_iter().filter(|name| is_same(name)).collect();
    let mut cells = read(page);
    cells.retain(|(_, name), _| same.contains(name.as_str()));
    cells
}

/// The cells of a page.
pub(crate) fn read(page: &str) -> Cells {
    let columns = columns_of(page);
    let names = columns.iter().filter_map(|column| column.split(' ').next());
    let names: Vec<&str> = names.collect();
    let rows = page.lines().skip_while(|line| !line.starts_with("| | 1 |"));
    let mut cells = Cells::new();
    for row in rows.skip(2) {
        let mut fields = row.trim_matches('|').split('|').map(str::trim);
        let id = fields.next().unwrap_or_default().to_owned();
        for (name, field) in names.iter().zip(fields) {
            let letters = field.chars().filter(char::is_ascii_uppercase);
            let gates = letters.map(|letter| gates_of(letter).to_owned());
            let cell = (!field.is_empty()).then(|| gates.collect());
            cells.insert((id.clone(), (*name).to_owned()), cell);
        }
    }
    cells
}

/// What is written is read as it was.
#[test]
fn a_page_is_read_as_it_was_written() {
    let mutants = crate::catalogue::all();
    let mut cells = Cells::new();
    let key = |n: usize| (mutants[0].id.to_owned(), SHIPPED[n].to_owned());
    cells.insert(key(0), Some(vec!["policy".to_owned(), "split".to_owned()]));
    cells.insert(key(1), Some(Vec::new()));
    cells.insert(key(2), None);
    let page = write(&mutants[..1], &cells);
    let again = read(&page);
    assert_eq!(write(&mutants[..1], &again), page);
    assert_eq!(again[&key(0)], cells[&key(0)]);
    assert_eq!(again[&key(1)], Some(Vec::new()));
    assert_eq!(again[&key(2)], None);
}
