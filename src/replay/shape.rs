//! The shape of an answer: which JSON types and members it has, whatever its texts, numbers and lengths; pure.
//!
//! Items of a list are taken together: a member that only some of them have is one that may be missing. So a longer list of the same
//! kind of items is alike, and a shorter one, too.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::local::RpcError;

/// Most differences that are told of one answer.
const TOLD: usize = 3;
/// Deepest part of an answer that is compared.
const DEEPEST: usize = 64;

/// What a value is, or what the items of a list are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shape {
    null: bool,
    flag: bool,
    number: bool,
    text: bool,
    /// The items of a list, all together; none of an empty list.
    list: Option<Box<Shape>>,
    object: Option<BTreeMap<String, Member>>,
}

/// A member of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    shape: Shape,
    /// Whether each of the objects that were taken together has it.
    always: bool,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An error of JSON-RPC, with its code.
    Error(i64),
    /// A result.
    Result {
        /// Whether the tool reports an error (`isError`).
        is_error: bool,
        /// The blocks of its content, by their kinds.
        content: BTreeMap<String, Shape>,
        /// All else.
        rest: Shape,
    },
}

impl Shape {
    pub(super) fn of(value: &Value) -> Self {
        Self::within(value, 0)
    }

    fn within(value: &Value, depth: usize) -> Self {
        let mut shape = Shape::default();
        match value {
            _ if depth > DEEPEST => shape.null = true,
            Value::Null => shape.null = true,
            Value::Bool(_) => shape.flag = true,
            Value::Number(_) => shape.number = true,
            Value::String(_) => shape.text = true,
            Value::Array(items) => {
                let items = items.iter().map(|item| Shape::within(item, depth + 1));
                shape.list = Some(Box::new(items.fold(Shape::default(), Shape::with)));
            }
            Value::Object(members) => {
                let member = |(name, value): (&String, &Value)| {
                    (name.clone(), Member { shape: Shape::within(value, depth + 1), always: true })
                };
                shape.object = Some(members.iter().map(member).collect());
            }
        }
        shape
    }

    /// Both taken together.
    fn with(self, other: Self) -> Self {
        let list = match (self.list, other.list) {
            (Some(one), Some(other)) => Some(Box::new(one.with(*other))),
            (one, other) => one.or(other),
        };
        let object = match (self.object, other.object) {
            (Some(one), Some(other)) => Some(joined(one, other)),
            (one, other) => one.or(other),
        };
        Shape {
            null: self.null | other.null,
            flag: self.flag | other.flag,
            number: self.number | other.number,
            text: self.text | other.text,
            list,
            object,
        }
    }

    /// The types, in words.
    fn types(&self) -> Vec<&'static str> {
        let all = [
            (self.null, "null"),
            (self.flag, "a boolean"),
            (self.number, "a number"),
            (self.text, "a text"),
            (self.list.is_some(), "a list"),
            (self.object.is_some(), "an object"),
        ];
        all.into_iter().filter(|(is_one, _)| *is_one).map(|(_, name)| name).collect()
    }

    /// How a shape differs from this one, which was there before. `place`: where it is in the answer. `of_items`: it is that of items,
    /// of which there may be fewer kinds than before.
    fn compare(&self, now: &Shape, place: &str, of_items: bool, found: &mut Vec<String>) {
        let (before, types) = (self.types(), now.types());
        // Of an empty list nothing is known.
        if of_items && (before.is_empty() || types.is_empty()) {
            return;
        }
        let is_other = if of_items { types.iter().any(|kind| !before.contains(kind)) } else { before != types };
        if is_other {
            let (was, is) = (before.join(" or "), types.join(" or "));
            found.push(format!("{place} is {is}, and was {was}"));
            return;
        }
        if let (Some(before), Some(now)) = (&self.list, &now.list) {
            before.compare(now, &format!("{place}[]"), true, found);
        }
        let (Some(before), Some(now)) = (&self.object, &now.object) else { return };
        for (name, member) in before {
            match now.get(name) {
                Some(other) if other.always || !member.always => {
                    member.shape.compare(&other.shape, &format!("{place}.{name}"), of_items, found);
                }
                Some(_) => found.push(format!("{place} has no {name} everywhere, and had it")),
                None if member.always => found.push(format!("{place} has no {name}, and had it")),
                None => {}
            }
        }
        for name in now.keys().filter(|name| !before.contains_key(*name)) {
            found.push(format!("{place} has {name}, which was not there"));
        }
    }
}

fn joined(mut one: BTreeMap<String, Member>, mut other: BTreeMap<String, Member>) -> BTreeMap<String, Member> {
    for (name, member) in &mut one {
        match other.remove(name) {
            Some(more) => {
                member.shape = std::mem::take(&mut member.shape).with(more.shape);
                member.always &= more.always;
            }
            None => member.always = false,
        }
    }
    one.extend(other.into_iter().map(|(name, member)| (name, Member { always: false, ..member })));
    one
}

impl Outcome {
    /// What an answer says: a message with a result or an error. `None`: it has neither, or is an error that mcp-pipe has given in
    /// the place of an answer.
    pub(super) fn of_message(message: &Value) -> Option<Self> {
        if let Some(error) = message.get("error") {
            let error = RpcError::from(error.clone());
            return (!error.is_no_answer()).then_some(Outcome::Error(error.code));
        }
        Some(Outcome::of_result(message.get("result")?))
    }

    /// What a result says.
    pub(super) fn of_result(result: &Value) -> Self {
        let mut content: BTreeMap<String, Shape> = BTreeMap::new();
        let mut rest = result.clone();
        if let Value::Object(members) = &mut rest {
            // What is written about a message is no part of it.
            members.remove("_meta");
            members.remove("isError");
            if let Some(Value::Array(blocks)) = members.get("content") {
                for block in blocks {
                    let kind = block["type"].as_str().unwrap_or("?").to_owned();
                    let known = content.remove(&kind).unwrap_or_default();
                    content.insert(kind, known.with(Shape::of(block)));
                }
                members.insert("content".to_owned(), Value::Array(Vec::new()));
            }
        } else {
            rest = Value::Object(Map::new());
        }
        Outcome::Result { is_error: result["isError"] == true, content, rest: Shape::of(&rest) }
    }

    /// How an outcome differs from this one, which was there before; `None`: it does not.
    pub(super) fn difference(&self, now: &Outcome) -> Option<String> {
        match (self, now) {
            (Outcome::Error(before), Outcome::Error(code)) => {
                (before != code).then(|| format!("the error has the code {code}, and had {before}"))
            }
            (Outcome::Error(before), Outcome::Result { .. }) => {
                Some(format!("the answer is a result, and was the error {before}"))
            }
            (Outcome::Result { .. }, Outcome::Error(code)) => {
                Some(format!("the answer is the error {code}, and was a result"))
            }
            (
                Outcome::Result { is_error: before, content: old, rest },
                Outcome::Result { is_error, content, rest: now },
            ) => {
                if before != is_error {
                    let words = if *is_error { "reports an error, and did not" } else { "reports no error, and did" };
                    return Some(format!("the tool {words}"));
                }
                let mut found = Vec::new();
                for kind in old.keys().filter(|kind| !content.contains_key(*kind)) {
                    found.push(format!("content has no block of the kind {kind}, and had one"));
                }
                for (kind, now) in content {
                    match old.get(kind) {
                        Some(before) => before.compare(now, &format!("content[{kind}]"), true, &mut found),
                        None => found.push(format!("content has a block of the kind {kind}, and had none")),
                    }
                }
                rest.compare(now, "result", false, &mut found);
                let all = found.len();
                found.truncate(TOLD);
                (all > 0).then(|| match all - found.len() {
                    0 => found.join("; "),
                    more => format!("{}; and {more} more", found.join("; ")),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn difference(before: Value, now: Value) -> Option<String> {
        Outcome::of_result(&before).difference(&Outcome::of_result(&now))
    }

    fn structured(before: Value, now: Value) -> Option<String> {
        difference(json!({"structuredContent": before}), json!({"structuredContent": now}))
    }

    #[test]
    fn texts_numbers_lengths_and_what_is_written_about_a_message_do_not_count() {
        for (before, now) in [
            (json!({"content": [{"type": "text", "text": "1"}]}), json!({"content": [{"type": "text", "text": "2"}]})),
            (
                json!({"content": [{"type": "text", "text": "1"}]}),
                json!({"content": [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}], "isError": false}),
            ),
            (json!({"content": [], "_meta": {"a": 1}}), json!({"content": []})),
        ] {
            assert_eq!(difference(before, now), None);
        }
        assert_eq!(structured(json!({"n": 1, "list": [1, 2]}), json!({"n": 2.5, "list": []})), None);
        assert_eq!(structured(json!([{"a": 1}, {"a": 1, "b": 2}]), json!([{"a": 3}])), None);
    }

    #[test]
    fn types_members_kinds_and_errors_count() {
        for (before, now, want) in [
            (json!({"a": 1}), json!({"a": "1"}), "result.structuredContent.a is a text, and was a number"),
            (json!({"a": 1}), json!({}), "result.structuredContent has no a, and had it"),
            (json!({}), json!({"a": 1}), "result.structuredContent has a, which was not there"),
            (json!({"a": null}), json!({"a": {}}), "result.structuredContent.a is an object, and was null"),
            (json!([1]), json!([1, "a"]), "result.structuredContent[] is a number or a text, and was a number"),
            (json!([{"a": 1}]), json!([{"a": 1}, {}]), "result.structuredContent[] has no a everywhere, and had it"),
            (
                json!([[{"a": 1}]]),
                json!([[{"a": true}]]),
                "result.structuredContent[][].a is a boolean, and was a number",
            ),
        ] {
            assert_eq!(structured(before, now).as_deref(), Some(want));
        }
        let text = || json!({"type": "text", "text": "x"});
        let image = json!({"type": "image", "data": "x", "mimeType": "image/png"});
        let content = |blocks: Value| json!({"content": blocks});
        assert_eq!(
            difference(content(json!([text()])), content(json!([text(), image]))).as_deref(),
            Some("content has a block of the kind image, and had none")
        );
        assert_eq!(
            difference(content(json!([text(), image])), content(json!([text()]))).as_deref(),
            Some("content has no block of the kind image, and had one")
        );
        assert_eq!(
            difference(content(json!([])), json!({"content": [], "isError": true})).as_deref(),
            Some("the tool reports an error, and did not")
        );
        let error = |code: i64| Outcome::of_message(&json!({"error": {"code": code}}));
        let result = Outcome::of_message(&json!({"result": {}}));
        let told = |before: &Option<Outcome>, now: &Option<Outcome>| match (before, now) {
            (Some(before), Some(now)) => before.difference(now),
            _ => Some("none".into()),
        };
        assert_eq!(told(&error(-1), &error(-1)), None);
        assert_eq!(told(&error(-1), &error(-2)).as_deref(), Some("the error has the code -2, and had -1"));
        assert_eq!(told(&error(-1), &result).as_deref(), Some("the answer is a result, and was the error -1"));
        assert_eq!(told(&result, &error(-1)).as_deref(), Some("the answer is the error -1, and was a result"));
        assert_eq!(Outcome::of_message(&json!({"id": 1})), None);
        let ours = json!({"error": {"code": -32000, "message": "exited", "data": {"from": "mcp-pipe"}}});
        assert_eq!(Outcome::of_message(&ours), None);
    }

    #[test]
    fn many_differences_are_told_as_a_few_and_depth_is_bounded() {
        let many: Map<String, Value> = (0..9).map(|n| (format!("m{n}"), json!(n))).collect();
        let told = structured(Value::Object(many), json!({})).unwrap_or_default();
        assert!(told.ends_with("; and 6 more"), "{told}");
        let mut deep = json!(1);
        for _ in 0..120 {
            deep = Value::Array(vec![deep]);
        }
        assert_eq!(structured(deep.clone(), deep), None);
    }

    fn values() -> impl Strategy<Value = Value> {
        let plain = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i8>().prop_map(Value::from),
            "[ab]{0,2}".prop_map(Value::from),
        ];
        plain.prop_recursive(4, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-d]", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// The same with other texts and numbers, and each list turned and twice as long.
    fn told_otherwise(value: &Value) -> Value {
        match value {
            Value::Null => Value::Null,
            Value::Bool(flag) => (!flag).into(),
            Value::Number(_) => json!(77.5),
            Value::String(text) => format!("{text}!").into(),
            Value::Array(items) => items.iter().rev().chain(items).map(told_otherwise).collect(),
            Value::Object(members) => {
                members.iter().map(|(name, value)| (name.clone(), told_otherwise(value))).collect::<Map<_, _>>().into()
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_told_otherwise_is_alike_both_ways(value in values()) {
            let other = told_otherwise(&value);
            prop_assert_eq!(structured(value.clone(), other.clone()), None);
            prop_assert_eq!(structured(other, value), None);
        }

        #[test]
        fn another_type_anywhere_outside_of_lists_is_a_difference(value in values(), name in "[a-d]") {
            let (mut before, mut now) = (json!({"in": value}), json!({"in": value}));
            before["in2"] = json!({name.clone(): 1});
            now["in2"] = json!({name: "1"});
            prop_assert!(structured(before, now).is_some());
        }
    }
}
