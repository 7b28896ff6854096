//! How much of an assistant's context tools take. Pure, and an estimate: each model cuts text into tokens its own way,
//! and only the model's maker knows how a list of tools is put before it.

use std::borrow::Cow;
use std::iter::Sum;
use std::ops::Add;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::words::counted;

/// The size of a text, or of several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// In bytes of UTF-8.
    pub bytes: usize,
    /// In tokens, estimated: one for each four bytes of ASCII, and one for each other character. English prose and
    /// JSON come out about right, Chinese a little high, and other scripts too low or too high.
    pub tokens: usize,
}

impl Size {
    /// The size of one text, such as the JSON of a tool.
    pub fn of(text: &str) -> Self {
        let ascii = text.bytes().filter(u8::is_ascii).count();
        let others = text.chars().filter(|c| !c.is_ascii()).count();
        Size { bytes: text.len(), tokens: ascii.div_ceil(4) + others }
    }
}

/// How many tools a result of `tools/list` (MCP, server/tools) holds, if these are all. `None` if more pages follow, or if
/// `result` is no such result.
pub(crate) fn count_of_all(result: &str) -> Option<usize> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Page<'a> {
        #[serde(borrow)]
        tools: Vec<&'a RawValue>,
        #[serde(borrow)]
        next_cursor: Option<Cow<'a, str>>,
    }
    let page: Page<'_> = serde_json::from_str(result).ok()?;
    page.next_cursor.is_none_or(|next| next.is_empty()).then_some(page.tools.len())
}

/// The names of the tools in a result of `tools/list`; none if `result` is no such result.
pub(crate) fn names_of(result: &str) -> Vec<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        tools: Vec<Tool<'a>>,
    }
    #[derive(Deserialize)]
    struct Tool<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
    }
    let page: serde_json::Result<Page<'_>> = serde_json::from_str(result);
    page.map_or_else(|_| Vec::new(), |page| page.tools.into_iter().map(|tool| tool.name).collect())
}

impl Add for Size {
    type Output = Size;

    fn add(self, other: Size) -> Size {
        Size { bytes: self.bytes + other.bytes, tokens: self.tokens + other.tokens }
    }
}

impl Sum for Size {
    fn sum<I: Iterator<Item = Size>>(sizes: I) -> Size {
        sizes.fold(Size::default(), Add::add)
    }
}

/// A warning if a list of tools of this size is above `budget` (estimated tokens). The text begins with `whose` list that is:
/// "server \"x\"".
pub(crate) fn budget_warning(whose: &str, Size { bytes, tokens }: Size, budget: usize) -> Option<String> {
    (tokens > budget).then(|| {
        format!(
            "{whose}: tools of {}, about {} (an estimate), above the toolBudget of {budget}; \
             an assistant chooses worse from a long list, and some endpoints refuse it: publish fewer by \"tools\"; \
             \"slim\": true leaves out all but names, descriptions and inputSchema; mcp-pipe tools --size shows which are large",
            counted(bytes, "byte"),
            counted(tokens, "token"),
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn four_bytes_of_ascii_or_one_other_character_are_a_token() {
        for (text, bytes, tokens) in [
            ("", 0, 0),
            ("a", 1, 1),
            ("abcd", 4, 1),
            ("abcde", 5, 2),
            ("计算器", 9, 3),
            (r#"{"name":"计算"}"#, 17, 5),
            ("日本a", 7, 3),
        ] {
            assert_eq!(Size::of(text), Size { bytes, tokens }, "{text}");
        }
    }

    #[test]
    fn tools_are_counted_where_all_are_there() {
        for (result, count) in [
            (r#"{"tools":[]}"#, Some(0)),
            (r#"{"tools":[{"name":"a","deep":[1,2]},{"name":"b"}],"nextCursor":null}"#, Some(2)),
            (r#"{"tools":[{"name":"a"}],"nextCursor":""}"#, Some(1)),
            (r#"{"tools":[{"name":"a"}],"nextCursor":"2"}"#, None),
            (r#"{"resources":[]}"#, None),
            ("[]", None),
            ("no JSON", None),
        ] {
            assert_eq!(count_of_all(result), count, "{result}");
        }
    }

    #[test]
    fn only_a_list_above_the_budget_is_warned_about() {
        let size = Size { bytes: 430, tokens: 108 };
        assert_eq!(budget_warning("server \"x\"", size, 108), None);
        let warning = budget_warning("server \"x\"", size, 107).unwrap_or_default();
        assert!(
            warning.starts_with(
                "server \"x\": tools of 430 bytes, about 108 tokens (an estimate), above the toolBudget of 107;"
            ),
            "{warning}"
        );
    }

    proptest! {
        #[test]
        fn the_estimate_lies_between_a_quarter_of_the_bytes_and_all_of_them(text in ".*") {
            let Size { bytes, tokens } = Size::of(&text);
            prop_assert!(tokens <= bytes && tokens * 4 >= bytes);
        }
    }
}
