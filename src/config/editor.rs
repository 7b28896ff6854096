//! Variables that editors replace in their configs, such as `${workspaceFolder}`: places, and no secrets. Pure.

use std::path::Path;

use super::Environment;

/// Folders in which editors keep a config, each in the folder of the project.
const SETTINGS: &[&str] = &[
    ".amazonq",
    ".cursor",
    ".gemini",
    ".idea",
    ".kiro",
    ".qwen",
    ".roo",
    ".trae",
    ".vs",
    ".vscode",
    ".windsurf",
    ".zed",
];

/// What a variable of editors holds for a config in `base`; `None` for any other variable.
pub(crate) fn value(name: &str, base: &Path, env: &Environment) -> Option<String> {
    let text = |path: &Path| path.display().to_string();
    // In a workspace of several folders, a colon and the folder's name may follow.
    match name.split_once(':').map_or(name, |(name, _)| name) {
        "workspaceFolder" | "workspaceRoot" => Some(text(workspace(base))),
        "workspaceFolderBasename" => workspace(base).file_name().map(|name| name.to_string_lossy().into_owned()),
        "userHome" => env.filled("HOME").or_else(|| env.filled("USERPROFILE")).map(str::to_owned),
        "pathSeparator" | "/" => Some(std::path::MAIN_SEPARATOR.to_string()),
        _ => None,
    }
}

/// Whether a variable is one of editors, wherever the config is.
pub(crate) fn is_place(name: &str) -> bool {
    value(name, Path::new("/project"), &[("HOME", "/home")].into_iter().collect()).is_some()
}

/// A text of a command line, in which only the variables of editors are replaced: any other may hold a secret.
pub(crate) fn fill(text: &str, base: &Path, env: &Environment) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        let inside = &rest[start + 2..];
        let known = inside.split_once('}').and_then(|(name, after)| Some((value(name, base, env)?, after)));
        let (value, after) = known.unwrap_or_else(|| ("${".to_owned(), inside));
        out.push_str(&value);
        rest = after;
    }
    out + rest
}

/// The folder of the project to which a config in `base` belongs.
fn workspace(base: &Path) -> &Path {
    let is_settings = |folder: &&Path| folder.file_name().is_some_and(|name| SETTINGS.iter().any(|s| name == *s));
    // Kiro's config is two levels below the project, in .kiro/settings.
    base.ancestors().take(2).find(is_settings).and_then(Path::parent).unwrap_or(base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_workspace_is_the_configs_folder_or_the_one_around_the_editors_own() {
        let env: Environment = [("HOME", "/home/u")].into_iter().collect();
        for (base, name, want) in [
            ("/home/u/p", "workspaceFolder", Some("/home/u/p")),
            ("/home/u/p/.vscode", "workspaceFolder", Some("/home/u/p")),
            ("/home/u/p/.kiro/settings", "workspaceFolder:p", Some("/home/u/p")),
            ("/home/u/.config/mcp-pipe", "workspaceFolder", Some("/home/u/.config/mcp-pipe")),
            ("/home/u/p/.cursor", "workspaceFolderBasename", Some("p")),
            ("/home/u/p", "userHome", Some("/home/u")),
            ("/home/u/p", "TOKEN", None),
        ] {
            assert_eq!(value(name, Path::new(base), &env).as_deref(), want, "{base} {name}");
            assert_eq!(is_place(name), want.is_some(), "{name}");
        }
    }

    #[test]
    fn a_command_line_has_places_filled_in_and_nothing_else() {
        let env: Environment = [("TOKEN", "s3cret"), ("HOME", "/home/u")].into_iter().collect();
        let fill = |text| fill(text, Path::new("/p"), &env);
        assert_eq!(fill("${workspaceFolder}/a${pathSeparator}b"), "/p/a/b");
        assert_eq!(fill("--root=${userHome} ${TOKEN} ${env:TOKEN} ${"), "--root=/home/u ${TOKEN} ${env:TOKEN} ${");
    }

    proptest! {
        #[test]
        fn nothing_panics(text in r"(\$\{|\}|userHome|:|é| )*") {
            fill(&text, Path::new("/"), &Environment::default());
        }
    }
}
