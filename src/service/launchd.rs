//! The definition of a service of launchd (macOS). Not tried on macOS. Pure.

use super::{Described, seal, written};
use crate::error::Failure;
use crate::secrecy::plain;

/// What the service is called there.
pub(super) const LABEL: &str = "mcp-pipe";
/// Has the variables of a file, then becomes the program: launchd reads no such file itself.
const WITH_VARIABLES: &str = "set -a; . \"$1\"; shift; exec \"$@\"";

/// The definition. `log`: the file in which its log is.
///
/// # Errors
/// A path can't stand in it.
pub(super) fn plist(described: &Described, log: &str) -> Result<String, Failure> {
    let (program, config) = (written(&described.program)?, written(&described.config)?);
    let folder = described.config.parent().map_or(Ok("/"), written)?;
    let variables = described.variables.as_deref().map(written).transpose()?;
    let before = variables.map(|file| ["/bin/sh", "-c", WITH_VARIABLES, "sh", file]);
    let words = before.iter().flatten().copied().chain([program, "--config", config]);
    let words: String = words.map(|word| format!("    <string>{}</string>\n", xml(word))).collect();
    let path = described.path.as_ref().map_or_else(String::new, |path| {
        format!("  <key>EnvironmentVariables</key>\n  <dict><key>PATH</key><string>{}</string></dict>\n", xml(path))
    });
    Ok(seal::sealed(&format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- {} -->\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <plist version=\"1.0\">\n<dict>\n  <key>Label</key>\n  <string>{LABEL}</string>\n  <key>ProgramArguments</key>\n  <array>\n{words}  </array>\n\
         {path}  <key>WorkingDirectory</key>\n  <string>{}</string>\n  <key>RunAtLoad</key>\n  <true/>\n  <key>KeepAlive</key>\n  \
         <dict><key>SuccessfulExit</key><false/></dict>\n  <key>ThrottleInterval</key>\n  <integer>10</integer>\n  <key>StandardErrorPath</key>\n  \
         <string>{}</string>\n  <key>Umask</key>\n  <integer>63</integer>\n</dict>\n</plist>\n",
        seal::MARK,
        xml(folder),
        xml(log),
    )))
}

/// A text as XML has it.
pub(super) fn xml(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    plain::line(&text).into_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn paths_and_variables_stand_in_it_whole() {
        let described = Described {
            program: "/opt/mcp-pipe".into(),
            config: "/Users/a & b/<c>.json".into(),
            variables: Some("/Users/a/service.env".into()),
            path: Some("/opt/homebrew/bin".into()),
        };
        let plist = plist(&described, "/Users/a/log").unwrap();
        for part in [
            "<string>/Users/a &amp; b/&lt;c&gt;.json</string>",
            "<string>/Users/a &amp; b</string>",
            "<string>set -a; . &quot;$1&quot;; shift; exec &quot;$@&quot;</string>\n    <string>sh</string>\n    <string>/Users/a/service.env</string>\n    \
             <string>/opt/mcp-pipe</string>\n    <string>--config</string>",
            "<dict><key>PATH</key><string>/opt/homebrew/bin</string></dict>",
        ] {
            assert!(plist.contains(part), "{part}\n{plist}");
        }
        assert_eq!(seal::is_as_written(&plist), Some(true));
        let bare = super::plist(&Described { variables: None, path: None, ..described }, "/l").unwrap();
        assert!(!bare.contains("/bin/sh") && !bare.contains("EnvironmentVariables"), "{bare}");
    }
}
