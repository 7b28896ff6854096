//! The shells: the script that each one reads, how its line is read, and how it is answered. Pure.

use clap::ValueEnum;

use super::words::Word;

/// A shell for which there is a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "they are called what they are called")]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
}

/// What a shell asks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// The words before the one at the cursor, without the program.
    pub(super) before: Vec<String>,
    /// What there is of that one.
    pub(super) current: String,
}

const BASH: &str = r#"# Completion of mcp-pipe for bash. In ~/.bashrc: source <(mcp-pipe completions bash)
_mcp_pipe() {
    local line before=${COMP_LINE:0:COMP_POINT} quotes
    # Within quotes a word stands as it is; elsewhere what a shell reads otherwise needs a backslash.
    quotes=${before//[^\'\"]/}
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ $line == $'\tfiles' ]]; then
            compopt -o filenames 2>/dev/null
            while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$2")
        else
            line=${line%%$'\t'*}
            (( ${#quotes} % 2 )) || printf -v line %q "$line"
            COMPREPLY+=("$line")
        fi
    done < <("$1" __complete bash "$before" 2>/dev/null)
}
complete -F _mcp_pipe mcp-pipe
"#;

const ZSH: &str = r#"#compdef mcp-pipe
# Completion of mcp-pipe for zsh. In ~/.zshrc, behind compinit: source <(mcp-pipe completions zsh)
_mcp_pipe() {
    local -a values texts
    local line files
    while IFS= read -r line; do
        if [[ $line == $'\tfiles' ]]; then
            files=1
        else
            values+=("${line%%$'\t'*}")
            texts+=("${line/$'\t'/  -- }")
        fi
    done < <("${(Q)words[1]}" __complete zsh "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)
    (( $#values )) && compadd -l -d texts -a values
    [[ -n $files ]] && _files
    return 0
}
if [[ $funcstack[1] == _mcp_pipe ]]; then _mcp_pipe "$@"; else compdef _mcp_pipe mcp-pipe; fi
"#;

const FISH: &str = r#"# Completion of mcp-pipe for fish: mcp-pipe completions fish > ~/.config/fish/completions/mcp-pipe.fish
function __mcp_pipe_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in (command mcp-pipe __complete fish $words[2..-1] "$current" 2>/dev/null)
        if test "$line" = \tfiles
            __fish_complete_path "$current"
        else
            echo $line
        end
    end
end
complete -c mcp-pipe -f -a '(__mcp_pipe_complete)'
"#;

const ELVISH: &str = r#"# Completion of mcp-pipe for elvish. In rc.elv: eval (mcp-pipe completions elvish | slurp)
use str
set edit:completion:arg-completer[mcp-pipe] = {|@words|
  mcp-pipe __complete elvish (all $words[1..]) 2>/dev/null | from-lines | each {|line|
    if (eq $line "\tfiles") {
      edit:complete-filename $words[-1]
    } else {
      var parts = [(str:split "\t" $line)]
      var shown = $parts[0]
      if (> (count $parts) 1) { set shown = $parts[0]'  '$parts[1] }
      edit:complex-candidate $parts[0] &display=$shown
    }
  }
}
"#;

const POWERSHELL: &str = r#"# Completion of mcp-pipe for PowerShell. In $PROFILE: mcp-pipe completions powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName 'mcp-pipe' -ScriptBlock {
    param($word, $ast, $cursor)
    $before = @($ast.CommandElements | Select-Object -Skip 1 | Where-Object { $_.Extent.EndOffset -lt $cursor } | ForEach-Object { $_.ToString() })
    # An empty argument would be lost on its way, so the last one has a dot at its end.
    & 'mcp-pipe' __complete powershell @before "$word." 2>$null | ForEach-Object {
        $value, $about = $_ -split "`t", 2
        if (-not $value) {
            [System.Management.Automation.CompletionCompleters]::CompleteFilename($word)
        } else {
            if (-not $about) { $about = $value }
            $written = if ($value -match '[\s''"`$;&|<>(){},@#]') { "'" + ($value -replace "'", "''") + "'" } else { $value }
            [System.Management.Automation.CompletionResult]::new($written, $value, 'ParameterValue', $about)
        }
    }
}
"#;

impl Shell {
    /// The shell of this name.
    pub(super) fn of(name: &str) -> Option<Shell> {
        Shell::from_str(name, false).ok()
    }

    /// What it is to read once.
    pub(super) fn script(self) -> &'static str {
        match self {
            Shell::Bash => BASH,
            Shell::Zsh => ZSH,
            Shell::Fish => FISH,
            Shell::Elvish => ELVISH,
            Shell::Powershell => POWERSHELL,
        }
    }

    /// What its script asks by these words: all of the line, the one at the cursor last. bash gives the line itself, as it cuts words at
    /// colons and equals signs.
    pub(super) fn asked(self, mut words: Vec<String>) -> Asked {
        if self == Shell::Bash {
            words = words.first().map(|line| split(line)).unwrap_or_default();
            words.drain(..1.min(words.len()));
        }
        let mut current = words.pop().unwrap_or_default();
        if self == Shell::Powershell {
            current.pop();
        }
        Asked { before: words, current }
    }

    /// A line about a word that may come next.
    pub(super) fn line(self, word: &Word, asked: &Asked) -> String {
        let Word { text, about, is_file } = word;
        if *is_file {
            return "\tfiles\n".to_owned();
        }
        // What bash takes for the word at the cursor begins behind these.
        let cut = asked.current.rfind([':', '=']).filter(|_| self == Shell::Bash).map_or(0, |at| at + 1);
        let text = &text[cut..];
        if about.is_empty() || self == Shell::Bash { format!("{text}\n") } else { format!("{text}\t{about}\n") }
    }
}

/// A line of bash as far as it is written, as words. The last is the one at the cursor, which may be empty.
fn split(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quote, mut is_begun) = (None, false);
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match (c, quote) {
            (' ' | '\t', None) if is_begun => {
                words.push(String::new());
                is_begun = false;
                continue;
            }
            (' ' | '\t', None) => continue,
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('\\', None | Some('"')) => push(&mut words, rest.next()),
            (c, _) => push(&mut words, Some(c)),
        }
        is_begun = true;
    }
    words
}

fn push(words: &mut [String], c: Option<char>) {
    if let Some(word) = words.last_mut() {
        word.extend(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_bash_is_read_as_bash_reads_it() {
        for (line, words) in [
            ("", &[""][..]),
            ("mcp-pipe ", &["mcp-pipe", ""]),
            ("mcp-pipe  re", &["mcp-pipe", "re"]),
            ("mcp-pipe call 'my ser", &["mcp-pipe", "call", "my ser"]),
            (r#"x a\ b "c 'd" e=f"#, &["x", "a b", "c 'd", "e=f"]),
            (r"x '' y\", &["x", "", "y"]),
        ] {
            assert_eq!(split(line), words, "{line}");
        }
    }

    #[test]
    fn bash_is_given_what_follows_where_it_cuts_a_word() {
        let word = |text: &str| Word { about: "what".to_owned(), ..Word::from(text.to_owned()) };
        let asked = |shell: Shell, words: &[&str]| shell.asked(words.iter().map(|word| (*word).to_owned()).collect());
        let bash = asked(Shell::Bash, &["mcp-pipe restart a:b"]);
        assert_eq!((&*bash.before, &*bash.current), (&["restart".to_owned()][..], "a:b"));
        assert_eq!(Shell::Bash.line(&word("a:bc"), &bash), "bc\n");
        let zsh = asked(Shell::Zsh, &["restart", "a:b"]);
        assert_eq!(
            (&*zsh.before, Shell::Zsh.line(&word("a:bc"), &zsh)),
            (&["restart".to_owned()][..], "a:bc\twhat\n".into())
        );
        assert_eq!(asked(Shell::Powershell, &["restart", "."]).current, "");
        assert_eq!(asked(Shell::Bash, &[]), Asked::default());
    }
}
