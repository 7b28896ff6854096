//! Where a problem is: for people one text, for programs file, line, column and path.

use std::fmt;

/// Where a problem is. In a box, as problems are what functions end with that fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(Box<Kind>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// In a file, or all of it.
    File(Spot),
    /// A variable of the environment.
    Variable(String),
    /// A variable that a file sets, and where.
    Set(String, Spot),
    /// Something that stands in no file, by the name that a person knows it by: an option, a target, the environment.
    Named(String),
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// The file as people are shown it.
    pub file: String,
    /// The line, from 1; `None` where the whole file is meant.
    pub line: Option<usize>,
    /// The character of the line, from 1; `None` where the whole line is meant.
    pub column: Option<usize>,
    /// Which value of a config it is, as in `mcpServers.calculator.args[1]`; empty outside of any.
    pub path: String,
}

impl Spot {
    /// A whole file.
    pub fn file(file: impl Into<String>) -> Self {
        Spot { file: file.into(), line: None, column: None, path: String::new() }
    }

    /// A line of a file.
    pub fn line(file: impl Into<String>, line: usize) -> Self {
        Spot { line: Some(line), ..Spot::file(file) }
    }
}

impl Place {
    /// A whole file.
    pub fn file(file: impl Into<String>) -> Self {
        Spot::file(file).into()
    }

    /// A line of a file.
    pub fn line(file: impl Into<String>, line: usize) -> Self {
        Spot::line(file, line).into()
    }

    /// A variable of the environment.
    pub fn variable(name: impl Into<String>) -> Self {
        Place(Box::new(Kind::Variable(name.into())))
    }

    /// A variable that a file sets.
    pub fn set(name: impl Into<String>, at: Spot) -> Self {
        Place(Box::new(Kind::Set(name.into(), at)))
    }

    /// The name of what stands in no file and is no variable of the environment.
    pub fn name(&self) -> Option<&str> {
        match &*self.0 {
            Kind::Named(name) => Some(name),
            Kind::File(_) | Kind::Variable(_) | Kind::Set(..) => None,
        }
    }

    /// Whether it is an option of the command line.
    pub(crate) fn is_option(&self) -> bool {
        self.name().is_some_and(|name| name.starts_with("--"))
    }

    /// Where in a file it is, if it is in one.
    pub fn spot(&self) -> Option<&Spot> {
        match &*self.0 {
            Kind::File(at) | Kind::Set(_, at) => Some(at),
            Kind::Variable(_) | Kind::Named(_) => None,
        }
    }

    /// The path in the config, or the name of what is meant elsewhere; empty for a whole file.
    pub fn path(&self) -> &str {
        match &*self.0 {
            Kind::File(Spot { path, .. }) => path,
            Kind::Variable(name) | Kind::Set(name, _) | Kind::Named(name) => name,
        }
    }

    /// Every text in it.
    pub(super) fn texts_mut(&mut self) -> [Option<&mut String>; 2] {
        match &mut *self.0 {
            Kind::File(Spot { file, path, .. }) => [Some(file), Some(path)],
            Kind::Set(name, at) => [Some(name), Some(&mut at.file)],
            Kind::Variable(name) | Kind::Named(name) => [Some(name), None],
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::File(at) => at.fmt(f),
            Kind::Variable(name) => write!(f, "{name} (environment)"),
            Kind::Set(name, at) => write!(f, "{name} ({at})"),
            Kind::Named(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spot { file, line, column, path } = self;
        f.write_str(file)?;
        for number in line.iter().chain(column) {
            write!(f, ":{number}")?;
        }
        if path.is_empty() { Ok(()) } else { write!(f, " {path}") }
    }
}

impl From<Spot> for Place {
    fn from(at: Spot) -> Self {
        Place(Box::new(Kind::File(at)))
    }
}

impl From<String> for Place {
    fn from(name: String) -> Self {
        Place(Box::new(Kind::Named(name)))
    }
}

impl From<&str> for Place {
    fn from(name: &str) -> Self {
        name.to_owned().into()
    }
}

impl From<&Place> for Place {
    fn from(place: &Place) -> Self {
        place.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_on_one_line() {
        let whole = Spot { column: Some(5), path: "mcpServers.a".to_owned(), ..Spot::line("c.json", 3) };
        for (place, told, path) in [
            (Place::from(whole.clone()), "c.json:3:5 mcpServers.a", "mcpServers.a"),
            (Place::line(".env", 2), ".env:2", ""),
            (Place::file("c.json"), "c.json", ""),
            (Place::variable("X"), "X (environment)", "X"),
            (Place::set("X", Spot::line(".env", 2)), "X (.env:2)", "X"),
            ("--mode".into(), "--mode", "--mode"),
        ] {
            assert_eq!((place.to_string().as_str(), place.path()), (told, path));
        }
    }
}
