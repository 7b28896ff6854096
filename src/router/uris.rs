//! Temporary, replaced at the next merge.
#![allow(missing_docs)]
use super::ServerIndex;
pub fn publish(_servers: &[&str], items: &[(ServerIndex, &str)]) -> Vec<String> { items.iter().map(|(_, u)| (*u).to_owned()).collect() }
pub fn template_matches(_template: &str, _uri: &str) -> bool { false }
