//! Changes of the release: they take effect, exactly once, and only on what was seen.

use futures_like::all;
use serde_json::{Value, json};

use crate::admin::{Answer, CANARY_KEY, STABLE_KEY, Stand, TOKEN};

/// Awaits many at once.
mod futures_like {
    use tokio::task::JoinSet;

    pub(super) async fn all<T: Send + 'static>(
        futures: Vec<impl Future<Output = T> + Send + 'static>,
    ) -> Vec<T> {
        futures.into_iter().collect::<JoinSet<T>>().join_all().await
    }
}

const WEIGHTS: &str = "/v1/routing/config";
const CONFIG: &str = "/v1/deployment/config";

fn weights(v1: u32, v2: u32) -> Value {
    json!({"weights": {"v1": v1, "v2": v2}})
}

fn at_once(stand: &Stand, n: usize, path: &str, body: &Value, tag: Option<&str>) -> Vec<Answer> {
    let bearer = format!("Bearer {TOKEN}");
    let mut headers = vec![("authorization", bearer.as_str())];
    headers.extend(tag.map(|tag| ("if-match", tag)));
    let body = body.to_string();
    let sent = (0..n).map(|_| stand.send("POST", path, &body, &headers));
    stand.runtime.block_on(all(sent.collect()))
}

#[test]
fn other_weights_take_effect_at_once() {
    let stand = Stand::new(&[], "");
    assert_eq!(stand.served_by("free"), "v1");
    let answer = stand.post(WEIGHTS, &weights(0, 100));
    assert_eq!(answer.status, 200, "{}", answer.text);
    let json = answer.json();
    assert_eq!(
        (&json["revision"], &json["canary_share"]),
        (&json!(2), &json!(1.0))
    );
    assert_eq!(answer.headers["etag"], "\"2\"");
    assert_eq!(stand.served_by("free"), "v2");
    assert_eq!(stand.get(WEIGHTS), json);
}

#[test]
fn wrong_weights_are_told_all_at_once() {
    let stand = Stand::new(&[], "");
    let body = json!({"weights": {"v1": -1, "v3": 2}, "revison": 1});
    let answer = stand.post(WEIGHTS, &body);
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (422, "invalid_fields")
    );
    let mistakes = answer.json()["error"]["mistakes"].clone();
    assert_eq!(
        mistakes,
        json!([
            "the weight of `v1` is negative",
            "`v2` has no weight",
            "there is no version `v3`",
            "unknown field `revison`",
        ])
    );
    let answer = stand.post(WEIGHTS, &weights(0, 0));
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (422, "bad_weights")
    );
    assert_eq!(stand.get(WEIGHTS)["revision"], 1);
}

#[test]
fn a_change_based_on_an_older_revision_is_refused() {
    let stand = Stand::new(&[], "");
    let mut change = weights(90, 10);
    change["revision"] = json!(1);
    assert_eq!(stand.post(WEIGHTS, &change).status, 200);
    let stale = stand.post(WEIGHTS, &change);
    assert_eq!(
        (stale.status, stale.code().as_str()),
        (409, "stale_revision")
    );
    assert_eq!(stale.json()["error"]["revision"], 2);
    let stale = &at_once(&stand, 1, WEIGHTS, &weights(1, 1), Some("\"1\""))[0];
    assert_eq!(
        (stale.status, stale.code().as_str()),
        (412, "stale_revision")
    );
    assert_eq!(stale.json()["error"]["revision"], 2);
    assert!(
        stale.text.contains("the revision is 2 now"),
        "{}",
        stale.text
    );
}

#[test]
fn of_twenty_writers_exactly_one_wins_a_revision() {
    let stand = Stand::new(&[], "");
    for round in 1..=5 {
        let tag = format!("\"{round}\"");
        let answers = at_once(&stand, 20, WEIGHTS, &weights(80, 20), Some(&tag));
        let won = answers.iter().filter(|a| a.status == 200).count();
        assert_eq!(won, 1, "{answers:#?}");
        for lost in answers.iter().filter(|a| a.status != 200) {
            assert_eq!((lost.status, lost.code().as_str()), (412, "stale_revision"));
        }
        assert_eq!(stand.get(WEIGHTS)["revision"], round + 1);
    }
}

#[test]
fn fifty_who_roll_back_at_once_make_one_record() {
    let stand = Stand::new(&[], "");
    assert_eq!(stand.served_by("premium"), "v2");
    let why = json!({"reason": "answers in Latin"});
    let answers = at_once(&stand, 50, "/v1/deployment/rollback", &why, None);
    let first = answers[0].json()["rollback"]["id"].clone();
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text);
        let json = answer.json();
        assert_eq!(json["rollback"]["id"], first);
        assert_eq!(
            (&json["phase"], &json["kept"]),
            (&json!("rolled_back"), &json!(true))
        );
    }
    let records = stand.get("/v1/deployment/rollbacks");
    let records = records["rollbacks"].as_array().unwrap();
    assert_eq!(records.len(), 1, "{records:#?}");
    assert_eq!(records[0]["words"], "answers in Latin");
    assert_eq!(
        (&records[0]["from"], &records[0]["to"]),
        (&json!("v2"), &json!("v1"))
    );
    assert_eq!(stand.served_by("premium"), "v1");
    let reopened = stand.post(WEIGHTS, &weights(50, 50));
    assert_eq!(
        (reopened.status, reopened.code().as_str()),
        (409, "rolled_back")
    );
    let checkpoints = stand.get("/v1/deployment/checkpoints");
    assert_eq!(checkpoints["checkpoints"][0]["name"], "pre_rollback_backup");
}

#[test]
fn a_peer_s_rollback_counts_once_however_late_it_comes_again() {
    let stand = Stand::new(&[], "");
    let phase = || stand.get("/v1/deployment")["phase"].clone();
    let told = |id: &str| {
        stand.post(
            "/v1/deployment/rollback",
            &json!({"id": id, "reason": "p99"}),
        )
    };
    let peers = at_once(
        &stand,
        10,
        "/v1/deployment/rollback",
        &json!({"id": "rb-v2-7-1", "reason": "p99"}),
        None,
    );
    assert!(
        peers
            .iter()
            .all(|a| a.status == 200 && a.json()["phase"] == "rolled_back")
    );
    let another = format!("{}\nretry: {{max_retries: 1}}\n", stand.router());
    let applied = stand.ask("PUT", CONFIG, &another);
    assert_eq!(applied.status, 200, "{}", applied.text);
    assert_eq!(phase(), "progressing");
    assert_eq!(told("rb-v2-7-1").status, 200);
    assert_eq!(phase(), "progressing", "it has been heard of");
    assert_eq!(told("rb-v2-8-2").status, 200);
    assert_eq!(phase(), "rolled_back");
    let records = stand.get("/v1/deployment/rollbacks");
    assert_eq!(records["rollbacks"].as_array().unwrap().len(), 2);
    let words = &records["rollbacks"][0]["words"];
    assert_eq!(words, "peer rb-v2-8-2: p99");
}

#[test]
fn a_configuration_with_mistakes_shows_all_of_them() {
    let stand = Stand::new(&[], "");
    let before = stand.get(CONFIG);
    let broken = "versions:
  v1: {role: stable, model: gpt-4.1, endpoint: nowhere}
  v2: {role: canary, modell: gpt-4.1-new}
split: {weights: {v1: 90}}
retry: {max_retries: many}
";
    let answer = stand.ask("PUT", CONFIG, broken);
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (422, "invalid_config")
    );
    let mistakes = answer.json()["error"]["mistakes"].clone();
    let lines: Vec<&Value> = mistakes
        .as_array()
        .unwrap()
        .iter()
        .map(|m| &m["line"])
        .collect();
    for line in [2, 3, 5] {
        assert!(lines.contains(&&json!(line)), "{mistakes:#}");
    }
    assert!(
        answer.text.contains("did you mean `model`?"),
        "{}",
        answer.text
    );
    let unreadable = stand.ask("PUT", CONFIG, "versions: {v1: [");
    assert_eq!(
        (unreadable.status, unreadable.code().as_str()),
        (400, "invalid_config")
    );
    let keyless = stand.router().replace("CANARY_API_KEY", "NOT_SET_ANYWHERE");
    let answer = stand.ask("PUT", CONFIG, &keyless);
    assert_eq!(answer.status, 422);
    assert!(
        answer.text.contains("NOT_SET_ANYWHERE is not set"),
        "{}",
        answer.text
    );
    assert_eq!(stand.get(CONFIG), before, "nothing was changed");
}

#[test]
fn another_configuration_is_another_release() {
    let stand = Stand::new(&[], "");
    let before = stand.get(CONFIG);
    let body = stand
        .router()
        .replace("{v1: 100, v2: 0}", "{v1: 0, v2: 100}");
    let stale = stand.ask("PUT", &format!("{CONFIG}?revision=9"), &body);
    assert_eq!(
        (stale.status, stale.code().as_str()),
        (409, "stale_revision")
    );
    let answer = stand.ask("PUT", &format!("{CONFIG}?revision=1"), &body);
    assert_eq!(answer.status, 200, "{}", answer.text);
    let after = answer.json();
    assert_eq!(after["revision"], 2);
    assert_ne!(after["sha256"], before["sha256"]);
    assert_eq!(stand.served_by("free"), "v2");
    // JSON is YAML as well.
    let endpoint = |mock: usize| stand.mocks[mock].base.clone();
    let body = json!({
        "versions": {
            "v1": {"role": "stable", "model": "gpt-4.1", "endpoint": endpoint(0),
                   "api_key_env": "STABLE_API_KEY"},
            "v2": {"role": "canary", "model": "gpt-4.1-new", "endpoint": endpoint(1),
                   "api_key_env": "CANARY_API_KEY"},
        },
        "split": {"weights": {"v1": 1, "v2": 0}},
    });
    let answer = stand.ask("PUT", CONFIG, &body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(stand.served_by("premium"), "v1", "its rule is gone");
}

#[test]
fn the_rolled_back_configuration_is_only_tried_again_on_purpose() {
    let stand = Stand::new(&[], "");
    assert_eq!(stand.post("/v1/deployment/abort", &json!({})).status, 200);
    let same = stand.ask("PUT", CONFIG, &stand.router());
    assert_eq!(
        (same.status, same.code().as_str()),
        (409, "same_as_rolled_back")
    );
    let again = stand.ask("PUT", &format!("{CONFIG}?again=true"), &stand.router());
    assert_eq!(again.status, 200, "{}", again.text);
    assert_eq!(stand.served_by("premium"), "v2");
}

#[test]
fn a_ramp_is_paused_resumed_and_promoted_by_hand() {
    let stand = Stand::new(&[], "");
    let ramp = "ramp: {steps: [{name: few, weight: 5%, hold: 1h}, {name: all, weight: 100%}]}";
    let ramped = stand
        .router()
        .replace("split: {weights: {v1: 100, v2: 0}}", ramp);
    let applied = stand.ask("PUT", CONFIG, &ramped);
    assert_eq!(applied.status, 200, "{}", applied.text);
    let order = |what: &str| stand.post(&format!("/v1/deployment/{what}"), &json!({}));
    let release = stand.get("/v1/deployment");
    assert_eq!(
        release["step"],
        json!({"position": 0, "name": "few", "of": 2})
    );
    assert_eq!(release["canary_share"], 0.05);
    assert_eq!(order("resume").code(), "not_in_this_phase");
    assert_eq!(order("pause").json()["phase"], "paused");
    assert_eq!(order("pause").status, 409);
    assert_eq!(order("resume").json()["phase"], "progressing");
    let codes = |answer: &Value| -> Vec<String> {
        let missing = answer["missing"].as_array().unwrap().iter();
        missing
            .map(|m| m["code"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(codes(&release)[0], "hold", "{release:#}");
    let weighed = stand.post(WEIGHTS, &weights(70, 30)).json();
    assert_eq!(weighed["phase"], "paused", "the ramp pauses, and says so");
    assert_eq!(codes(&weighed)[0], "paused");
    let words = weighed["missing"][0]["words"].as_str().unwrap();
    assert!(words.contains("weights were set by hand"), "{words}");
    assert_eq!(codes(&stand.get("/v1/stats"))[0], "paused");
    assert_eq!(order("resume").json()["canary_share"], 0.05);
    let promoted = order("promote").json();
    assert_eq!(
        (&promoted["phase"], &promoted["canary_share"]),
        (&json!("promoted"), &json!(1.0))
    );
    assert_eq!(stand.served_by("free"), "v2");
    let history = stand.get("/v1/deployment/history?limit=6");
    let kinds: Vec<&Value> = history["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["kind"])
        .collect();
    assert_eq!(
        kinds,
        [
            "promoted", "resumed", "weights", "resumed", "paused", "applied"
        ]
    );
}

#[test]
fn checkpoints_are_made_listed_and_restored() {
    let stand = Stand::new(&[], "");
    let path = "/v1/deployment/checkpoints";
    let none = stand.post("/v1/deployment/instant-rollback", &json!({}));
    assert_eq!((none.status, none.code().as_str()), (409, "no_checkpoint"));
    let made = stand.post(path, &json!({"name": "all is well"}));
    assert_eq!(made.status, 201, "{}", made.text);
    let checkpoint = made.json();
    assert_eq!(
        (&checkpoint["id"], &checkpoint["kind"]),
        (&json!("cp-1"), &json!("manual"))
    );
    assert_eq!(stand.get(path)["checkpoints"], json!([checkpoint]));
    assert_eq!(stand.post(WEIGHTS, &weights(0, 100)).status, 200);
    let restored = stand.post(&format!("{path}/cp-1/restore"), &json!({}));
    assert_eq!(restored.json()["canary_share"], 0.0, "{}", restored.text);
    assert_eq!(stand.served_by("free"), "v1");
    let missing = stand.post(&format!("{path}/cp-99/restore"), &json!({}));
    assert_eq!(
        (missing.status, missing.code().as_str()),
        (404, "no_checkpoint")
    );
    let back = stand.post(
        "/v1/deployment/instant-rollback",
        &json!({"reason": "enough"}),
    );
    assert_eq!(back.json()["phase"], "rolled_back", "{}", back.text);
}

/// Attempts that hang at the canary when it is closed by hand are cancelled there, and answered by stable.
#[test]
fn requests_in_flight_are_taken_back_by_a_rollback_if_so_configured() {
    let stand = Stand::new(&["kind: timeout"], "rollback: {in_flight: cancel}");
    let url = format!("{}/chat/completions", stand.gateway.base);
    let body = json!({"model": "gpt-4.1", "messages": []}).to_string();
    let request = stand.client.post(url).header("x-user-tier", "premium");
    let under_way = stand.runtime.spawn(request.body(body).send());
    stand.wait_for_stats(|s| s["versions"]["v2"]["assigned"] == 1);
    let closed = stand.post("/v1/deployment/rollback", &json!({}));
    assert_eq!(closed.json()["phase"], "rolled_back", "{}", closed.text);
    let answer = stand
        .runtime
        .block_on(under_way)
        .unwrap()
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    let header = |name| answer.headers()[name].to_str().unwrap();
    assert_eq!((header("x-version"), header("x-fallback")), ("v1", "true"));
    let stats = stand.wait_for_stats(|s| s["requests"]["succeeded"] == 1);
    assert_eq!(stats["versions"]["v2"]["outcomes"], json!({"shutdown": 1}));
}

/// Gets the configuration and puts it back as it is, whole and its file alone.
fn put_back(stand: &Stand) -> Value {
    let got = stand.ask("GET", CONFIG, "");
    assert_eq!(got.status, 200, "{}", got.text);
    let json = got.json();
    let same = stand.ask("PUT", CONFIG, &got.text);
    assert_eq!(
        (same.status, same.code().as_str()),
        (409, "unchanged"),
        "{}\n{}",
        same.text,
        got.text
    );
    assert_eq!(stand.get(CONFIG), json, "nothing changed");
    for secret in [STABLE_KEY, CANARY_KEY, TOKEN] {
        assert!(!got.text.contains(secret), "{}", got.text);
    }
    json
}

#[test]
fn what_is_shown_of_a_configuration_can_be_put_back() {
    let stand = Stand::new(
        &[],
        "retry: {jitter: 33.3%, factor: 1.7}\njudge: sequential",
    );
    put_back(&stand);
    // Other weights are part of what is in force.
    assert_eq!(stand.post(WEIGHTS, &weights(93, 7)).status, 200);
    let mut shown = put_back(&stand);
    assert_eq!(
        shown["config"]["split"]["weights"],
        json!({"v1": 93.0, "v2": 7.0})
    );
    // Its revision is what it is based on.
    shown["config"]["retry"]["max_retries"] = json!(1);
    let applied = stand.ask("PUT", CONFIG, &shown.to_string());
    assert_eq!(applied.status, 200, "{}", applied.text);
    assert_eq!(applied.json()["config"]["retry"]["max_retries"], 1);
    shown["config"]["retry"]["max_retries"] = json!(2);
    let stale = stand.ask("PUT", CONFIG, &shown.to_string());
    assert_eq!(
        (stale.status, stale.code().as_str()),
        (409, "stale_revision")
    );
    let alone = stand.ask("PUT", CONFIG, &shown["config"].to_string());
    assert_eq!(alone.status, 200, "{}", alone.text);
    put_back(&stand);
    let odd = json!({"config": shown["config"], "revison": 1}).to_string();
    let odd = stand.ask("PUT", CONFIG, &odd);
    assert_eq!(odd.status, 422, "{}", odd.text);
    assert!(odd.text.contains("revison"), "{}", odd.text);
}

#[test]
fn a_ramp_s_configuration_can_be_put_back_at_any_step() {
    let stand = Stand::new(&[], "");
    let steps =
        "ramp: {steps: [{name: a, weight: 7%, hold: 1h}, {name: b, weight: 100%}], control: 7%}";
    let ramped = stand
        .router()
        .replace("split: {weights: {v1: 100, v2: 0}}", steps);
    assert_eq!(stand.ask("PUT", CONFIG, &ramped).status, 200);
    put_back(&stand);
    assert_eq!(stand.ask("POST", "/v1/deployment/promote", "").status, 200);
    put_back(&stand);
}
