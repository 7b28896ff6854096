//! `mcp-pipe man`: the manual page of the program and of each command, made of the definition of the command line.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::process::stdout;
use anyhow::{Context as _, Result};
use clap::Command;
use clap_mangen::Man;

/// Prints the page of the program.
///
/// # Errors
/// It can't be made.
pub(crate) fn print(definition: Command) -> Result<()> {
    stdout::print(&page(&built(definition))?);
    Ok(())
}

/// Writes the page of the program and of each command into a folder, which is made if need be. Returns how many there are.
///
/// # Errors
/// The folder can't be written to.
pub(crate) fn write(definition: Command, folder: &Path) -> Result<usize> {
    let command = built(definition);
    fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
    let all = [&command].into_iter().chain(shown(&command)).map(|command| {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        let file = folder.join(format!("{name}.1"));
        fs::write(&file, page(command)?).with_context(|| format!("{} can't be written", file.display()))
    });
    all.collect::<Result<Vec<()>>>().map(|all| all.len())
}

/// The definition with all that follows from it.
fn built(definition: Command) -> Command {
    let mut command = definition.disable_help_subcommand(true);
    command.build();
    command
}

/// The commands that have a page.
fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set())
}

/// The page of a command. Its examples are lines, which nothing fills up.
fn page(command: &Command) -> Result<String> {
    let man = Man::new(command.clone());
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_uppercase();
    let mut page = format!(".TH {name} 1 \"\" \"mcp-pipe {}\" \"mcp-pipe\"\n", env!("CARGO_PKG_VERSION")).into_bytes();
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    page.extend_from_slice(as_it_is(&examples).as_bytes());
    if command.has_subcommands() {
        page.extend_from_slice(see_also(command).as_bytes());
    }
    // A terminal may know ASCII only, and man says nothing of what it leaves out.
    Ok(String::from_utf8_lossy(&page).replace('…', "...").replace('→', "->").replace('←', "<-"))
}

/// A text whose lines stay as they are, as a section of a page.
fn as_it_is(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let text = text.strip_prefix("Examples:\n").unwrap_or(text);
    let lines = text.lines().map(|line| {
        let line = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
        // A line that begins with a point would be a request.
        if line.starts_with('.') { format!("\\&{line}\n") } else { format!("{line}\n") }
    });
    format!(".SH EXAMPLES\n.nf\n{}.fi\n", lines.collect::<String>())
}

/// The pages of the commands.
fn see_also(command: &Command) -> String {
    let mut text = ".SH \"SEE ALSO\"\n".to_owned();
    let names: Vec<&str> = shown(command).map(|command| command.get_display_name().unwrap_or_default()).collect();
    for (at, name) in names.iter().enumerate() {
        // Writing to a String can't fail.
        let _ = writeln!(text, ".BR {} (1){}", name.replace('-', "\\-"), if at + 1 < names.len() { " ," } else { "" });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_as_they_are_and_none_is_a_request() {
        assert_eq!(as_it_is(""), "");
        assert_eq!(
            as_it_is("Examples:\n  a --b '{\"c\":1}'\n.d\n\ne\\f"),
            ".SH EXAMPLES\n.nf\n  a \\-\\-b \\(aq{\"c\":1}\\(aq\n\\&.d\n\ne\\ef\n.fi\n"
        );
    }
}
