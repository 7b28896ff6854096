//! The definition of a task of the Task Scheduler (Windows), which starts with its user's session. Not tried on Windows. Pure.

use super::launchd::xml;
use super::{Described, seal, written};
use crate::error::Failure;

/// The definition.
///
/// # Errors
/// A path can't stand in it.
pub(super) fn task(described: &Described) -> Result<String, Failure> {
    let (program, config) = (written(&described.program)?, written(&described.config)?);
    let folder = described.config.parent().map_or(Ok("C:\\"), written)?;
    Ok(seal::sealed(&format!(
        "<?xml version=\"1.0\"?>\n<!-- {} -->\n<Task version=\"1.2\" xmlns=\"http://schemas.microsoft.com/windows/2004/02/mit/task\">\n  \
         <Triggers><LogonTrigger><Enabled>true</Enabled></LogonTrigger></Triggers>\n  \
         <Principals><Principal id=\"Author\"><LogonType>InteractiveToken</LogonType><RunLevel>LeastPrivilege</RunLevel></Principal></Principals>\n  \
         <Settings><MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy><ExecutionTimeLimit>PT0S</ExecutionTimeLimit>\
         <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries><StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>\
         <RestartOnFailure><Interval>PT1M</Interval><Count>999</Count></RestartOnFailure></Settings>\n  \
         <Actions Context=\"Author\"><Exec><Command>{}</Command><Arguments>--config \"{}\"</Arguments>\
         <WorkingDirectory>{}</WorkingDirectory></Exec></Actions>\n</Task>\n",
        seal::MARK,
        xml(program),
        xml(config),
        xml(folder),
    )))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_config_stands_in_it_as_one_argument() {
        let described = Described {
            program: "/m/mcp-pipe.exe".into(),
            config: "/Us ers/a&b/c.json".into(),
            variables: None,
            path: None,
        };
        let task = task(&described).unwrap();
        assert!(task.contains("<Arguments>--config \"/Us ers/a&amp;b/c.json\"</Arguments>"), "{task}");
        assert_eq!(seal::is_as_written(&task), Some(true));
    }
}
