//! The commands that bring servers of other programs here, and these programs to mcp-pipe.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, StringValueParser, TypedValueParser};
use clap::{Arg, Command, Error, Subcommand, ValueHint};

use crate::bring::client::CLIENTS;
use crate::bring::programs::PROGRAMS;
use crate::bring::{Connect, Errand, Import};

const INIT_EXAMPLES: &str = "\
Examples:
  mcp-pipe init         asks for the endpoint, which servers of other programs to take over, and what goes into .env
  mcp-pipe init --yes   does what would be offered: all servers that are found, else an example

It writes mcp_config.json and .env (for you alone), and over nothing. A file of another program that can't be read is told, and passed over.
Exit code: 0 written, 1 something can't be read or written, or the input ended, 2 there is a config already, or nobody to ask, 78 the config is no JSON";

const IMPORT_EXAMPLES: &str = "\
Examples:
  mcp-pipe import                           what other programs here have, and what would become of mcp_config.json
  mcp-pipe import --from cursor             only of one program (several: --from once more)
  mcp-pipe import --from FILE               of a file: of one of these programs, or any with mcpServers
  mcp-pipe import --from cursor --write     takes it over; what was there before is kept beside it
  mcp-pipe import --json                    the same for a program

Programs: claude (Claude Desktop), claude-code, cursor, vscode, windsurf, cline, roo, gemini, opencode, lmstudio, zed, copilot, amazonq,
xiaozhi-client, mcphub. Secrets go into .env, and ${NAME} stands for them. See docs/IMPORT.md.
Exit code: 0 done, or shown; 1 something can't be read or written, 2 no such program or file, 78 a file is no JSON: nothing was written";

const CONNECT_EXAMPLES: &str = "\
Examples:
  mcp-pipe connect cursor                          the entry for its file, by which it starts mcp-pipe stdio
  mcp-pipe connect cursor --write                  puts it there; what was there before is kept beside it
  mcp-pipe connect cursor --http                   the entry by which it calls the gateway of the config
  mcp-pipe connect vscode --file .vscode/mcp.json  for one project

Clients: claude (Claude Desktop), claude-code, cursor, vscode, windsurf, cline, roo, gemini, opencode, lmstudio, zed, copilot, amazonq.
Exit code: 0 done, or shown; 1 the file can't be read or changed, 2 no such client, 78 a file is no JSON, or the config is wrong";

/// What is brought where.
#[derive(Debug, Clone, Subcommand)]
pub enum BringCommand {
    /// Write a first config and .env
    #[command(after_help = INIT_EXAMPLES)]
    Init {
        /// Ask nothing, and do what would be offered
        #[arg(short, long)]
        yes: bool,
    },
    /// Take over the MCP servers of other programs: shows what would be done, and does it with --write
    #[command(after_help = IMPORT_EXAMPLES)]
    Import {
        /// A program, or a file [default: all programs that are here]
        #[arg(long, value_name = "PROGRAM | FILE", value_parser = ProgramOrFile, value_hint = ValueHint::FilePath, hide_possible_values = true)]
        from: Vec<String>,
        /// Take over a server also where another one has its name: as NAME-PROGRAM
        #[arg(long)]
        both: bool,
        /// Write it, after a copy of what is there
        #[arg(long)]
        write: bool,
        /// Print JSON instead of words
        #[arg(long)]
        json: bool,
    },
    /// Have an MCP client use mcp-pipe: shows the entry for the client's file, and puts it there with --write
    #[command(after_help = CONNECT_EXAMPLES)]
    Connect {
        /// Which client
        #[arg(hide_possible_values = true, value_parser = PossibleValuesParser::new(CLIENTS.iter().map(|client| client.name)))]
        client: String,
        /// By the address and key of the config's gateway, not by starting mcp-pipe stdio
        #[arg(long)]
        http: bool,
        /// Another file of the client than its own for all projects
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Write it, after a copy of what is there
        #[arg(long)]
        write: bool,
        /// Print JSON instead of words
        #[arg(long)]
        json: bool,
    },
}

/// A program or a file: any text, of which the programs are known.
#[derive(Debug, Clone)]
struct ProgramOrFile;

impl TypedValueParser for ProgramOrFile {
    type Value = String;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<String, Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(PROGRAMS.iter().map(|program| PossibleValue::new(program.name).help(program.title))))
    }
}

/// The names of these commands.
pub(super) const NAMES: &[&str] = &["init", "import", "connect"];

impl BringCommand {
    /// What the command is called.
    pub(super) fn name(&self) -> &'static str {
        match self {
            BringCommand::Init { .. } => "init",
            BringCommand::Import { .. } => "import",
            BringCommand::Connect { .. } => "connect",
        }
    }

    /// The file or program that is named.
    pub(super) fn about(&self) -> Option<&str> {
        match self {
            BringCommand::Init { .. } => None,
            BringCommand::Import { from, .. } => from.first().map(String::as_str),
            BringCommand::Connect { file, .. } => file.as_deref().and_then(|file| file.to_str()),
        }
    }

    /// What is to be done.
    pub(crate) fn errand(&self) -> Errand<'_> {
        match self {
            BringCommand::Init { yes } => Errand::Init { yes: *yes },
            BringCommand::Import { from, both, write, json } => {
                Errand::Import(Import { from, both: *both, write: *write, json: *json })
            }
            BringCommand::Connect { client, http, file, write, json } => {
                let (http, write, json) = (*http, *write, *json);
                Errand::Connect(Connect { client, http, file: file.as_deref(), write, json })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names that a help has behind a word, to the end of the sentence.
    fn listed(help: &str, word: &str) -> Vec<String> {
        let list = help.split_once(word).and_then(|(_, rest)| rest.split_once('.')).map_or("", |(list, _)| list);
        let name = |item: &str| item.split_whitespace().next().unwrap_or_default().to_owned();
        list.split(',').map(name).collect()
    }

    #[test]
    fn help_names_each_program_and_each_client() {
        let programs: Vec<&str> = PROGRAMS.iter().map(|program| program.name).collect();
        let clients: Vec<&str> = CLIENTS.iter().map(|client| client.name).collect();
        assert_eq!(listed(IMPORT_EXAMPLES, "\nPrograms:"), programs);
        assert_eq!(listed(CONNECT_EXAMPLES, "\nClients:"), clients);
    }
}
