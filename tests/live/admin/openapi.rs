//! The document for programs says what there is, and nothing else.

use std::collections::BTreeSet;

use graygate::live::admin::routes;
use serde_json::{Value, json};

use crate::admin::Stand;

/// Paths of the gateway itself, which stand in the same document.
const GATEWAY: [&str; 2] = ["/v1/chat/completions", "/v1/models"];
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

fn document() -> Value {
    serde_json::from_str(routes::OPENAPI).expect("JSON")
}

/// Every operation: path, method in capitals, what is said of it.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        let methods = METHODS.into_iter();
        methods.filter_map(move |method| {
            let operation = item.get(method.to_lowercase())?;
            Some((path.clone(), method.to_owned(), operation.clone()))
        })
    });
    all.collect()
}

/// Follows a `$ref`.
fn resolve<'v>(document: &'v Value, value: &'v Value) -> &'v Value {
    match value["$ref"].as_str() {
        Some(pointer) => {
            let found = document.pointer(pointer.trim_start_matches('#'));
            found.unwrap_or_else(|| panic!("{pointer} leads nowhere"))
        }
        None => value,
    }
}

/// What does not fit a schema: as much of JSON Schema as the document uses.
fn misfits(document: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let schema = resolve(document, schema);
    let mut wrong = Vec::new();
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let own = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = |t: &&str| *t == own || (*t == "number" && own == "integer");
    if !types.is_empty() && !types.iter().any(|t| fits(t)) {
        wrong.push(format!("{place} is {own}, not {types:?}"));
    }
    if schema["enum"]
        .as_array()
        .is_some_and(|all| !all.contains(value))
    {
        wrong.push(format!("{place} is {value}"));
    }
    if let Value::Array(items) = value {
        for (i, item) in items.iter().enumerate() {
            wrong.extend(misfits(
                document,
                &schema["items"],
                item,
                &format!("{place}[{i}]"),
            ));
        }
    }
    if let Value::Object(members) = value {
        for name in schema["required"].as_array().into_iter().flatten() {
            if !members.contains_key(name.as_str().unwrap()) {
                wrong.push(format!("{place} has no {name}"));
            }
        }
        for (name, member) in members {
            let place = format!("{place}.{name}");
            match (&schema["properties"][name], &schema["additionalProperties"]) {
                (Value::Null, Value::Bool(false)) => wrong.push(format!("{place} is unknown")),
                (Value::Null, rest) => wrong.extend(misfits(document, rest, member, &place)),
                (own, _) => wrong.extend(misfits(document, own, member, &place)),
            }
        }
    }
    wrong
}

#[test]
fn routes_and_document_are_the_same_list() {
    let documented: BTreeSet<(String, String)> = operations(&document())
        .into_iter()
        .filter(|(path, ..)| !GATEWAY.contains(&path.as_str()))
        .map(|(path, method, _)| (path, method))
        .collect();
    let served = routes::all().into_iter().flat_map(|route| {
        let path = route.path.to_owned();
        route
            .methods
            .iter()
            .map(move |m| (path.clone(), (*m).to_owned()))
    });
    assert_eq!(served.collect::<BTreeSet<_>>(), documented);
}

#[test]
fn every_path_answers_to_its_methods_and_to_no_others() {
    let stand = Stand::new(&[], "");
    let document = document();
    let all = operations(&document);
    for (path, item) in document["paths"].as_object().unwrap() {
        let at_gateway = GATEWAY.contains(&path.as_str());
        let real = path.replace("{id}", "cp-1");
        for method in METHODS {
            let is_documented = all.iter().any(|(p, m, _)| p == path && m == method);
            let status = match at_gateway {
                // The gateway's address stands for the admin API's.
                true => {
                    let url = format!("{}{}", stand.gateway.base, real.trim_start_matches("/v1"));
                    let request = stand.client.request(method.parse().unwrap(), url).send();
                    stand.runtime.block_on(request).unwrap().status().as_u16()
                }
                false => stand.ask(method, &real, "{").status,
            };
            assert_eq!(status == 405, !is_documented, "{method} {path}: {status}");
            // There is no checkpoint of this name; its path is there.
            assert_ne!(status, 404, "{method} {path}");
            let operation = &item[method.to_lowercase()];
            if is_documented {
                assert!(
                    operation["responses"].get(status.to_string()).is_some(),
                    "{method} {path} answers {status}, which is not documented"
                );
            }
        }
    }
}

#[test]
fn examples_fit_their_schemas() {
    let document = document();
    let mut wrong = Vec::new();
    let mut seen = 0;
    let mut check = |place: String, content: &Value| {
        for (kind, body) in content.as_object().into_iter().flatten() {
            if let Some(example) = body.get("example") {
                seen += 1;
                let place = format!("{place} {kind}");
                wrong.extend(misfits(&document, &body["schema"], example, &place));
            }
        }
    };
    for (path, method, operation) in operations(&document) {
        check(
            format!("{method} {path} request"),
            &operation["requestBody"]["content"],
        );
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = resolve(&document, response);
            check(format!("{method} {path} {status}"), &response["content"]);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 40, "{seen}");
}

#[test]
fn real_answers_fit_their_schemas() {
    let stand = Stand::new(&["kind: unauthorized, share: 100%"], "");
    stand.served_by("premium");
    stand.wait_for_stats(|stats| stats["requests"]["succeeded"] == 1);
    let document = document();
    let fits = |method: &str, path: &str, real: &str, body: &str| {
        let answer = stand.ask(method, real, body);
        let pointer = format!(
            "/paths/{}/{}/responses/{}",
            path.replace('/', "~1"),
            method.to_lowercase(),
            answer.status
        );
        let response = document.pointer(&pointer);
        let response = resolve(&document, response.unwrap_or_else(|| panic!("{pointer}")));
        let schema = &response["content"]["application/json"]["schema"];
        let wrong = misfits(
            &document,
            schema,
            &answer.json(),
            &format!("{method} {real}"),
        );
        assert!(wrong.is_empty(), "{wrong:#?}\n{}", answer.text);
        answer.status
    };
    let checkpoint = json!({"name": "x"}).to_string();
    let good = json!({"weights": {"v1": 1, "v2": 1}}).to_string();
    let restore = "/v1/deployment/checkpoints/{id}/restore";
    let config = "/v1/deployment/config";
    for (method, path, real, body, status) in [
        (
            "POST",
            "/v1/routing/config",
            "/v1/routing/config",
            good.as_str(),
            200,
        ),
        (
            "POST",
            "/v1/routing/config",
            "/v1/routing/config",
            "{}",
            422,
        ),
        (
            "POST",
            "/v1/deployment/checkpoints",
            "/v1/deployment/checkpoints",
            &checkpoint,
            201,
        ),
        (
            "POST",
            restore,
            "/v1/deployment/checkpoints/cp-1/restore",
            "",
            200,
        ),
        (
            "POST",
            restore,
            "/v1/deployment/checkpoints/cp-9/restore",
            "",
            404,
        ),
        ("PUT", config, config, "versions: 1", 422),
        ("PUT", config, "/v1/deployment/config?revision=9", "[", 400),
        (
            "POST",
            "/v1/deployment/pause",
            "/v1/deployment/pause",
            "",
            409,
        ),
        (
            "POST",
            "/v1/deployment/rollback",
            "/v1/deployment/rollback",
            "",
            200,
        ),
    ] {
        assert_eq!(fits(method, path, real, body), status, "{method} {real}");
    }
    let reads = routes::all()
        .into_iter()
        .filter(|r| r.methods.contains(&"GET"));
    for route in reads.filter(|r| r.path != "/metrics") {
        assert_eq!(fits("GET", route.path, route.path, ""), 200);
    }
}

#[test]
fn the_list_of_operations() {
    let document = document();
    let lines = operations(&document)
        .into_iter()
        .map(|(path, method, operation)| {
            let statuses = operation["responses"].as_object().unwrap().keys();
            let statuses: Vec<&str> = statuses.map(String::as_str).collect();
            let summary = operation["summary"].as_str().unwrap();
            format!(
                "{method:4} {path}\n     {summary}\n     {}\n",
                statuses.join(" ")
            )
        });
    insta::assert_snapshot!(lines.collect::<String>());
}
