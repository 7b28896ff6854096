//! What a person wants of a server, and which step leads there from what is; pure.
//!
//! Commands don't act: each gives the server another [`Goal`], and whoever owns the server's process takes one step at a time
//! until nothing is left to do. So commands may come in any number and any order, twice or while another one is under
//! way: the last one counts, and no step starts a process while there is another.

use serde::{Deserialize, Serialize};

/// What a person wants of a server. Kept nowhere: a run begins with all servers wanted running.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Wanted {
    /// The server runs, and is started again when it dies.
    #[default]
    Running,
    /// The same, and it gets no calls.
    Paused,
    /// The server does not run.
    Stopped,
}

/// A command about a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerCommand {
    /// The server is to run and to take calls.
    Start,
    /// The same, said of a paused server.
    Resume,
    /// The server is to run in another process than now.
    Restart,
    /// The server is to run and to take no calls.
    Pause,
    /// The server is to run no longer.
    Stop,
    /// What it has failed at so far is to count no more: what waits for it to be well is to be tried now.
    Reset,
}

/// What is to become of a server: the sum of all commands about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Goal {
    /// What the last command wants.
    pub wanted: Wanted,
    /// How many commands there were.
    pub number: u64,
    /// A process that was started before this command is to end.
    pub fresh: u64,
}

/// What a server is doing, as far as the next step depends on that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Actual {
    /// There is no process, and the next start has its time. `tried`: the number of the last command before the last attempt.
    Waiting {
        /// See above.
        tried: u64,
    },
    /// There is a process, perhaps one that is ending. `since`: the number of the last command before its start.
    Running {
        /// See above.
        since: u64,
    },
    /// There is no process, and none is about to be.
    Halted,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing: all is as it is wanted, or becomes so by itself.
    Stay,
    /// Start the server now.
    Start,
    /// End the process. What follows is decided when it is gone.
    End,
    /// Take back that the server is to be started.
    Halt,
}

impl Goal {
    /// The goal after one more command.
    pub(crate) fn after(self, command: ServerCommand) -> Goal {
        let number = self.number + 1;
        let (wanted, fresh) = match command {
            ServerCommand::Start | ServerCommand::Resume => (Wanted::Running, self.fresh),
            ServerCommand::Restart => (Wanted::Running, number),
            ServerCommand::Pause => (Wanted::Paused, self.fresh),
            // What is stopped and then started is another process, even where nobody has looked in between.
            ServerCommand::Stop => (Wanted::Stopped, number),
            ServerCommand::Reset => (self.wanted, self.fresh),
        };
        Goal { wanted, number, fresh }
    }

    /// The goal where the server itself is another one: the same, with a process that is started from now on.
    pub(crate) fn renewed(self) -> Goal {
        let number = self.number + 1;
        Goal { number, fresh: number, ..self }
    }

    /// The step that leads to the goal.
    pub(crate) fn step(self, actual: Actual) -> Step {
        match (self.wanted, actual) {
            (Wanted::Stopped, Actual::Running { .. }) => Step::End,
            (Wanted::Stopped, Actual::Waiting { .. }) => Step::Halt,
            (Wanted::Stopped, Actual::Halted) => Step::Stay,
            (Wanted::Running | Wanted::Paused, Actual::Running { since }) if since < self.fresh => Step::End,
            (Wanted::Running | Wanted::Paused, Actual::Running { .. }) => Step::Stay,
            // A person who says it now does not want to wait for the next attempt.
            (Wanted::Running | Wanted::Paused, Actual::Waiting { tried }) if tried < self.number => Step::Start,
            (Wanted::Running | Wanted::Paused, Actual::Waiting { .. }) => Step::Stay,
            (Wanted::Running | Wanted::Paused, Actual::Halted) => Step::Start,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COMMANDS: [ServerCommand; 6] = [
        ServerCommand::Start,
        ServerCommand::Resume,
        ServerCommand::Restart,
        ServerCommand::Pause,
        ServerCommand::Stop,
        ServerCommand::Reset,
    ];

    #[test]
    fn each_state_has_its_step() {
        let goal = |wanted| Goal { wanted, number: 7, fresh: 5 };
        let (old, new) = (Actual::Running { since: 4 }, Actual::Running { since: 5 });
        let (untried, tried) = (Actual::Waiting { tried: 6 }, Actual::Waiting { tried: 7 });
        for (wanted, steps) in [
            (Wanted::Running, [Step::End, Step::Stay, Step::Start, Step::Stay, Step::Start]),
            (Wanted::Paused, [Step::End, Step::Stay, Step::Start, Step::Stay, Step::Start]),
            (Wanted::Stopped, [Step::End, Step::End, Step::Halt, Step::Halt, Step::Stay]),
        ] {
            let got = [old, new, untried, tried, Actual::Halted].map(|actual| goal(wanted).step(actual));
            assert_eq!(got, steps, "{wanted:?}");
        }
    }

    #[test]
    fn what_a_command_wants_is_what_its_name_says_and_a_second_time_changes_nothing() {
        for (command, wanted, ends) in [
            (ServerCommand::Start, Wanted::Running, false),
            (ServerCommand::Resume, Wanted::Running, false),
            (ServerCommand::Restart, Wanted::Running, true),
            (ServerCommand::Pause, Wanted::Paused, false),
            (ServerCommand::Stop, Wanted::Stopped, true),
        ] {
            let goal = Goal::default().after(command);
            assert_eq!((goal.wanted, goal.step(Actual::Running { since: 0 }) == Step::End), (wanted, ends));
            assert_eq!(goal.after(command).wanted, wanted);
        }
        let twice = Goal::default().after(ServerCommand::Stop).after(ServerCommand::Stop);
        assert_eq!(twice.step(Actual::Halted), Step::Stay);
    }

    #[derive(Debug, Clone)]
    enum Happening {
        Command(usize),
        /// The server's owner looks at the goal.
        Look,
        /// The process has ended, asked or not.
        Ends,
        /// A pause between two attempts is over.
        Due,
    }

    /// A server as its owner keeps it.
    struct Model {
        goal: Goal,
        actual: Actual,
        /// The process was told to end.
        ending: bool,
    }

    impl Model {
        fn look(&mut self) {
            match self.goal.step(self.actual) {
                Step::Stay => {}
                Step::Start => {
                    assert!(!matches!(self.actual, Actual::Running { .. }), "two processes");
                    self.start();
                }
                Step::End => self.ending = true,
                Step::Halt => self.actual = Actual::Halted,
            }
        }

        fn start(&mut self) {
            self.actual = Actual::Running { since: self.goal.number };
            self.ending = false;
        }

        fn ends(&mut self) {
            if let Actual::Running { since } = self.actual {
                self.actual = Actual::Waiting { tried: since };
                if self.goal.wanted == Wanted::Stopped {
                    self.actual = Actual::Halted;
                }
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_in_whatever_order_the_last_command_counts(
            happenings in prop::collection::vec(prop_oneof![
                4 => (0..COMMANDS.len()).prop_map(Happening::Command),
                3 => Just(Happening::Look),
                2 => Just(Happening::Ends),
                1 => Just(Happening::Due),
            ], 0..100),
        ) {
            let mut it = Model { goal: Goal::default(), actual: Actual::Waiting { tried: 0 }, ending: false };
            let (mut last, mut must_be_new) = (Wanted::Running, 0);
            for happening in happenings {
                match happening {
                    Happening::Command(n) => {
                        it.goal = it.goal.after(COMMANDS[n]);
                        last = it.goal.wanted;
                        if matches!(COMMANDS[n], ServerCommand::Restart | ServerCommand::Stop) {
                            must_be_new = it.goal.number;
                        }
                    }
                    Happening::Look => it.look(),
                    Happening::Ends => it.ends(),
                    Happening::Due if matches!(it.actual, Actual::Waiting { .. })
                        && it.goal.step(it.actual) != Step::Halt => it.start(),
                    Happening::Due => {}
                }
            }
            // Left alone, it gets there in a few steps and stays.
            for _ in 0..4 {
                it.look();
                if it.ending {
                    it.ends();
                }
                if matches!(it.actual, Actual::Waiting { .. }) && it.goal.wanted != Wanted::Stopped {
                    it.start();
                }
            }
            prop_assert_eq!(it.goal.wanted, last);
            prop_assert_eq!(it.goal.step(it.actual), Step::Stay);
            match (last, it.actual) {
                (Wanted::Stopped, actual) => prop_assert_eq!(actual, Actual::Halted),
                (_, Actual::Running { since }) => prop_assert!(since >= must_be_new && !it.ending),
                (_, actual) => prop_assert!(false, "{actual:?}"),
            }
        }
    }
}
