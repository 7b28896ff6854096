//! Cuts known secrets out of log lines.

use std::sync::{Arc, PoisonError, RwLock};

use crate::endpoint::Secret;

/// What must not be shown in a log. Clones share it.
#[derive(Clone, Default)]
pub struct Redactions(Arc<RwLock<Vec<Secret>>>);

impl Redactions {
    /// Keeps these out of the log from now on, besides those that are already. The longest first, so that a token is
    /// not cut out of its query.
    pub fn add(&self, secrets: impl IntoIterator<Item = Secret>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.extend(secrets.into_iter().filter(|secret| !secret.reveal().is_empty()));
        all.sort_by(|a, b| (b.reveal().len(), b.reveal()).cmp(&(a.reveal().len(), a.reveal())));
        all.dedup();
    }

    /// Puts `…` in each secret's place.
    pub(super) fn apply<'a>(&self, texts: impl Iterator<Item = &'a mut String>) {
        let secrets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for text in texts {
            for secret in secrets.iter() {
                if memchr::memmem::find(text.as_bytes(), secret.reveal().as_bytes()).is_some() {
                    *text = text.replace(secret.reveal(), "…");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_cut_out_and_the_rest_stays() {
        let redactions = Redactions::default();
        redactions.add(["abcdef", "token=abcdef", ""].map(Secret::new));
        redactions.clone().add([Secret::new("Bearer x")]);
        let mut texts = ["GET /?token=abcdef abcdef, Bearer x\n", "nothing"].map(str::to_owned);
        redactions.apply(texts.iter_mut());
        assert_eq!(texts, ["GET /?… …, …\n", "nothing"]);
    }
}
