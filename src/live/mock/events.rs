//! The events of a mock's stream as they go over the wire.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::observe::event::Text;
use crate::protocol::openai::ErrorReply;
use crate::upstream::odd::Shape;
use crate::upstream::plan::MOST_WORDS;
use crate::upstream::stream::{Manner, Moment, Piece, StreamPlan};

/// The word of one token, as whole answers have it. All are of one length, so that the length of a text
/// tells the number of its tokens.
const TOKEN: &str = "tok ";

/// The tokens that a text of so many characters has, if a mock wrote it.
pub fn tokens_in(characters: u64) -> u32 {
    // Whoever makes a stream of a whole answer has no space behind its last word.
    u32::try_from((characters + 1) / TOKEN.len() as u64).unwrap_or(u32::MAX)
}

/// The text of a whole answer: one word a token, so that its length is the one it claims.
pub(super) fn text(tokens: u32) -> String {
    vec![TOKEN.trim_end(); tokens.min(MOST_WORDS) as usize].join(" ")
}

/// What came of such a text on its way, or of an answer that has none; nothing where it may be anybody's.
pub fn text_of(text: Option<&str>, is_by_a_mock: bool) -> Option<Text> {
    let words = || text.into_iter().flat_map(str::split_whitespace);
    let is_ours = words().all(|word| word == TOKEN.trim_end());
    match text.is_some() && is_ours {
        true if is_by_a_mock || words().next().is_some() => {
            Some(Text::Tokens(u32::try_from(words().count()).ok()?))
        }
        true => None,
        false => is_by_a_mock.then_some(Text::Altered),
    }
}

/// Writes the pieces of one stream.
#[derive(Clone, Debug)]
pub struct Events {
    plan: StreamPlan,
    /// What every chunk begins with, up to its choices.
    head: String,
    states_usage: bool,
}

impl Events {
    /// The events of a stream with this id by this model.
    pub fn new(plan: StreamPlan, id: &str, model: &str, states_usage: bool) -> Self {
        let (id, model) = (Value::from(id), Value::from(model));
        Self {
            plan,
            head: format!(
                "{{\"id\":{id},\"object\":\"chat.completion.chunk\",\"created\":0,\"model\":{model},\"choices\":"
            ),
            states_usage,
        }
    }

    /// Single events as a stream with this id by this model would have them.
    pub fn like(id: &str, model: &str) -> Self {
        Self::new(StreamPlan::EMPTY, id, model, false)
    }

    /// What is sent for a piece; nothing for those that only end.
    pub fn bytes(&self, piece: Piece) -> Option<Bytes> {
        let text = match piece {
            Piece::Role => self.chunk(r#"{"role":"assistant","content":""}"#, "null"),
            Piece::Tokens(n) | Piece::Again(n) => self.tokens(n),
            Piece::Empty => self.event("[]"),
            Piece::Finish => match self.plan.manner {
                Manner::Filtered => self.chunk("{}", "\"content_filter\""),
                Manner::Usual | Manner::Drifted(_) => self.chunk("{}", "\"stop\""),
            },
            Piece::Usage => self.usage()?,
            Piece::Done => "data: [DONE]\n\n".to_owned(),
            Piece::Error => format!("data: {}\n\n", overloaded().body()),
            Piece::Garbage => format!("data: {}[{{\"delta\":<html>\n\n", self.head),
            Piece::HalfCharacter => {
                let mut half =
                    format!("data: {}[{{\"delta\":{{\"content\":\"caf", self.head).into_bytes();
                // The first of the two bytes of an e with an accent.
                half.push(0xc3);
                return Some(Bytes::from(half));
            }
            Piece::Foreign(n) => self.foreign(n),
            Piece::HalfString => format!("data: {}[{{\"delta\":{{\"content\":\"to", self.head),
            Piece::End | Piece::Cut | Piece::Reset | Piece::Silence => return None,
        };
        Some(Bytes::from(text))
    }

    fn tokens(&self, n: u32) -> String {
        let words = TOKEN.repeat(n as usize);
        self.chunk(&format!("{{\"content\":\"{words}\"}}"), "null")
    }

    /// A chunk of another answer.
    fn foreign(&self, n: u32) -> String {
        let other = Self::like("chatcmpl-another", "another-model");
        let words = TOKEN.repeat(n as usize);
        other.chunk(&format!("{{\"content\":\"{words}\"}}"), "\"stop\"")
    }

    fn chunk(&self, delta: &str, finish: &str) -> String {
        let choice = format!("[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]");
        self.event(&choice)
    }

    /// An event with these choices, and what else a chunk has.
    fn event(&self, choices: &str) -> String {
        let head = &self.head;
        match self.plan.manner.shape() {
            None | Some(Shape::TokensConsumed | Shape::MissingUsage) => {
                format!("data: {head}{choices}}}\n\n")
            }
            Some(Shape::Metadata) => {
                format!("data: {head}{choices},\"metadata\":{{\"latency\":45}}}}\n\n")
            }
            Some(Shape::Wrapped) => format!("data: {{\"data\":{head}{choices}}}}}\n\n"),
        }
    }

    /// The event with its tokens, if it is to state them.
    fn usage(&self) -> Option<String> {
        let shape = self.plan.manner.shape();
        if !self.states_usage || shape == Some(Shape::MissingUsage) {
            return None;
        }
        let usage = self.plan.usage;
        let all = u64::from(usage.prompt_tokens) + u64::from(usage.completion_tokens);
        let usage = match shape {
            Some(Shape::TokensConsumed) => json!({"tokens_consumed": all}),
            _ => json!({
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "total_tokens": all,
            }),
        };
        Some(self.event(&format!("[],\"usage\":{usage}")))
    }

    /// Everything it does, and when, with its first token after `first`.
    pub fn moments(&self, first: Duration) -> impl Iterator<Item = Moment> + use<> {
        self.plan.moments(first)
    }

    /// All bytes that are sent until it ends, however that is.
    pub fn concat(&self, first: Duration) -> Vec<u8> {
        let pieces = self
            .moments(first)
            .filter_map(|moment| self.bytes(moment.piece));
        pieces.flat_map(|bytes| bytes.to_vec()).collect()
    }
}

fn overloaded() -> ErrorReply {
    ErrorReply {
        status: 200,
        message: "The server is overloaded".to_owned(),
        kind: "server_error",
        code: "overloaded",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::openai::Usage;
    use crate::protocol::outcome::Outcome;
    use crate::protocol::stream::StreamReader;
    use crate::upstream::stream::{Breakage, Ending};

    /// What a reader makes of the bytes that a plan sends.
    fn read(plan: StreamPlan) -> (Option<Outcome>, StreamReader) {
        let first = Duration::from_millis(100);
        let events = Events::new(plan, "c-1", "m", true);
        let mut reader = StreamReader::default();
        reader.push(&events.concat(first));
        while reader.take().is_some() {}
        let last = events.moments(first).last().map(|moment| moment.piece);
        let outcome = match last {
            Some(Piece::Cut) => Some(reader.outcome(Some(Outcome::Truncated))),
            Some(Piece::Reset) => Some(reader.outcome(Some(Outcome::Reset))),
            Some(Piece::Silence) => None,
            _ => Some(reader.outcome(None)),
        };
        (outcome, reader)
    }

    fn plan(ending: Ending, per_chunk: u32, manner: Manner) -> StreamPlan {
        StreamPlan {
            usage: Usage {
                prompt_tokens: 3,
                completion_tokens: 7,
            },
            gap: Duration::from_millis(20),
            per_chunk,
            ending,
            manner,
        }
    }

    fn is_same(plan: StreamPlan) {
        let (outcome, reader) = read(plan);
        let planned = plan.end(Duration::from_millis(100));
        assert_eq!(outcome, planned.map(|(_, o)| o), "{plan:?}");
        if outcome == Some(Outcome::Success) {
            assert_eq!(reader.usage(), plan.stated_usage(), "{plan:?}");
        }
        let is_foreign = |moment: Moment| matches!(moment.piece, Piece::Foreign(_));
        let is_spliced = plan.moments(Duration::ZERO).any(is_foreign);
        assert_eq!(reader.is_spliced(), is_spliced, "{plan:?}");
        assert_eq!(reader.drift(true), plan.drift().0, "{plan:?}");
    }

    #[test]
    fn every_stream_reads_as_its_plan_says() {
        let breakages = Breakage::ALL.into_iter().flat_map(|how| {
            let points = [(0, false), (0, true), (1, false), (4, false), (7, false)];
            let more = [(99, false)];
            let points = points.into_iter().chain(more);
            points.map(move |(after, has_role)| Ending::Broken {
                after,
                how,
                has_role,
            })
        });
        let empty = Ending::Broken {
            after: 0,
            how: Breakage::NoChoices,
            has_role: false,
        };
        for ending in [Ending::Whole, empty].into_iter().chain(breakages) {
            for per_chunk in [1, 3] {
                is_same(plan(ending, per_chunk, Manner::Usual));
            }
        }
    }

    /// Read again as the gateway passes it on, it differs as its plan says.
    #[test]
    fn every_manner_reads_as_its_plan_says() {
        let shapes = Shape::NAMED.map(|(_, shape)| Manner::Drifted(shape));
        for manner in shapes.into_iter().chain([Manner::Filtered]) {
            let plan = plan(Ending::Whole, 2, manner);
            is_same(plan);
            let mut reader = StreamReader::default();
            reader.push(&Events::new(plan, "c-1", "m", true).concat(Duration::ZERO));
            let mut caller = StreamReader::default();
            while let Some((raw, _)) = reader.take() {
                caller.push(&reader.shaped().unwrap_or(raw));
            }
            while caller.take().is_some() {}
            assert_eq!(caller.outcome(None), Outcome::Success);
            assert_eq!(caller.drift(true), plan.drift().1, "{manner:?}");
        }
    }
}
