//! What a conversion does not show, and what is left of it.

use graygate::traffic::format::Record;

use crate::convert::{LITELLM, assert_converted, convert, read};
use crate::support::Folder;

/// Everything that somebody wrote, in texts, names and keys.
#[test]
fn nothing_that_was_said_is_in_the_output() {
    let folder = Folder::new();
    let key = "sk-Zq9wErtYuiOpAsDf";
    let secret = format!(
        "{{\"format\":\"graygate.log/1\"}}\n{{\"at_s\":1,\"session\":\"Wolpertinger\",\"user\":\"Xaver\",\"tenant\":\"Yggdrasil\",\
         \"trace\":\"Zwieback\",\"model\":\"chat\",\"served_by\":\"{key}\",\"outcome\":\"success\",\"answer\":\"Quetzalcoatl flies\",\
         \"body\":{{\"messages\":[{{\"role\":\"user\",\"name\":\"Kasimir\",\"content\":\"Rumpelstiltskin {key}\"}},\
         {{\"role\":\"Oberon\",\"content\":[{{\"type\":\"text\",\"text\":\"Methuselah\"}}],\
         \"tool_calls\":[{{\"function\":{{\"name\":\"Titania\",\"arguments\":\"{{Puck: 1}}\"}}}}]}}],\
         \"stop\":[\"Ariadne\"],\"user\":\"Xaver\",\"tools\":[{{\"function\":{{\"name\":\"Titania\"}}}}],\"Nibelung\":1}}}}\n\
         {{\"at_s\":\"Loreley\",\"user\":\"Loreley\"}}\n"
    );
    // So many that one in a hundred does not matter.
    let more = "{\"at_s\":2,\"input_tokens\":1,\"output_tokens\":1}\n".repeat(200);
    let log = folder.write("secret.jsonl", &format!("{secret}{more}"));
    let words = [
        "Wolpertinger",
        "Xaver",
        "Yggdrasil",
        "Zwieback",
        "Zq9wErtYuiOpAsDf",
        "Quetzalcoatl",
        "flies",
        "Kasimir",
        "Rumpelstiltskin",
        "Oberon",
        "Methuselah",
        "Titania",
        "Puck",
        "Ariadne",
        "Nibelung",
        "Loreley",
    ];
    for to in [
        "graygate", "litellm", "otel", "azure", "burstgpt", "mooncake",
    ] {
        let done = convert(&log, to, &[]);
        assert_converted(&done, to);
        for word in words {
            assert!(!done.out.contains(word), "{to}: {word}: {}", done.out);
            assert!(!done.err.contains(word), "{to}: {word}: {}", done.err);
        }
        assert!(done.err.contains("secret.jsonl:3"), "{}", done.err);
        let open = convert(&log, to, &["--contents"]);
        assert!(!open.out.contains("Zq9wErtYuiOpAsDf"), "{to}: {}", open.out);
        assert!(open.err.contains("Loreley"), "{}", open.err);
    }
    let open = convert(&log, "graygate", &["--contents"]).out;
    for word in words
        .iter()
        .filter(|word| **word != "Zq9wErtYuiOpAsDf" && **word != "Loreley")
    {
        assert!(open.contains(word), "{word}");
    }
}

#[test]
fn names_still_group_and_lengths_survive() {
    let salted = |salt: &str| {
        read(
            "graygate",
            &convert(LITELLM, "graygate", &["--salt", salt]).out,
        )
    };
    let (a, again, b) = (salted("a"), salted("a"), salted("b"));
    assert_eq!(a, again);
    let open = read(
        "graygate",
        &convert(LITELLM, "graygate", &["--contents"]).out,
    );
    assert_eq!(a[1].trace, a[2].trace);
    assert_ne!(a[0].trace, a[1].trace);
    assert_ne!(a[1].trace, b[1].trace);
    for (hidden, open) in a.iter().zip(&open) {
        assert_ne!(hidden.trace, open.trace);
        let words = |record: &Record| record.answer.as_ref().map(|a| a.split_whitespace().count());
        assert_eq!(words(hidden), words(open));
        assert_eq!(
            (hidden.at, hidden.end, hidden.cost),
            (open.at, open.end, open.cost)
        );
    }
    // Without a salt nobody can say whose pseudonyms they are.
    let fresh = || convert(LITELLM, "graygate", &[]).out;
    assert_ne!(fresh(), fresh());
}

#[test]
fn lengths_are_counted_where_nobody_stated_them() {
    let done = convert("fixtures/logs/sharegpt.json", "graygate", &[]);
    let records = read("graygate", &done.out);
    assert_eq!(records.len(), 5);
    let is_counted =
        |r: &Record| r.input_tokens.is_some() && r.output_tokens.is_some() == r.answer.is_some();
    assert!(records.iter().all(is_counted), "{}", done.out);
    assert!(done.out.contains("tok tok "), "{}", done.out);
}
