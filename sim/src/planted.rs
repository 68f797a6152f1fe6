//! Which planted bug a run has: the scenario's own, none, or one that the command line names.

use crate::check::Check;
use crate::scenario::reader::nearest;
use crate::scenario::settings::Setting as _;
use crate::scenario::{Outcome, Scenario};
use clap::Args;
use detcd_core::mutants::Mutant;
use std::path::Path;

/// The options of every command that runs a scenario.
#[derive(Args, Default)]
pub struct Planting {
    /// Plants this bug into a scenario that has none of its own; any check may catch it.
    #[arg(long, value_name = "NAME", conflicts_with = "without_mutant")]
    mutant: Option<String>,
    /// Leaves out the planted bug of a must-fail scenario.
    #[arg(long)]
    without_mutant: bool,
}

impl Planting {
    /// Has the scenario of this file expect what is asked for.
    pub fn apply(&self, path: &Path, scenario: &mut Scenario) -> Result<(), String> {
        let expect = &mut scenario.head.expect;
        if self.without_mutant {
            expect.clean();
        }
        let Some(name) = &self.mutant else {
            return Ok(());
        };
        named(name)?;
        match &expect.mutant {
            Some(own) if own == name => {}
            Some(own) => {
                let path = path.display();
                return Err(format!(
                    "{path} plants `{own}` itself, and a run has one planted bug: `--mutant {name}` \
                     is for a scenario without"
                ));
            }
            None => {
                expect.result = Outcome::Caught;
                expect.mutant = Some(name.clone());
                expect.caught_by = Check::every();
            }
        }
        Ok(())
    }
}

/// The planted bug of this name.
pub fn named(name: &str) -> Result<Mutant, String> {
    Mutant::named(name).ok_or_else(|| {
        let known = Mutant::ALL.iter().map(|(known, _)| *known);
        format!("no mutant `{name}`{}", nearest(name, known))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(expect: &str) -> Scenario {
        let text = format!("[[workload]]\nkind = \"kv\"\n{expect}");
        Scenario::parse("s.toml", &text).expect("it is right")
    }

    fn apply(mutant: Option<&str>, without_mutant: bool, expect: &str) -> Result<Scenario, String> {
        let mut scenario = scenario(expect);
        let mutant = mutant.map(str::to_owned);
        let planting = Planting {
            mutant,
            without_mutant,
        };
        planting.apply("s.toml".as_ref(), &mut scenario)?;
        Ok(scenario)
    }

    const OWN: &str =
        "[expect]\nresult = \"caught\"\nmutant = \"torn-tail\"\ncaught_by = [\"watch\"]\n";

    #[test]
    fn a_scenario_without_a_bug_takes_any_and_any_check_may_catch_it() {
        let planted = apply(Some("stale-ack"), false, "").expect("there is room for it");
        assert_eq!(planted.expect().mutant.as_deref(), Some("stale-ack"));
        assert_eq!(planted.expect().caught_by, Check::every());
        // What is saved as a plan is a scenario that says so.
        let plan = planted.resolve(1).to_string();
        let read = Scenario::parse("plan.toml", &plan).expect("a plan can be read");
        assert_eq!(read.expect().mutant.as_deref(), Some("stale-ack"));
    }

    #[test]
    fn a_scenario_with_a_bug_of_its_own_takes_no_other() {
        let same = apply(Some("torn-tail"), false, OWN).expect("it is the one");
        assert_eq!(same.expect().caught_by, [Check::Watch]);
        let clean = apply(None, true, OWN).expect("it can be left out");
        assert_eq!(clean.expect().mutant, None);
        let other = apply(Some("stale-ack"), false, OWN).err();
        let expected = "s.toml plants `torn-tail` itself, and a run has one planted bug: `--mutant \
                        stale-ack` is for a scenario without";
        assert_eq!(other.as_deref(), Some(expected));
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest() {
        let unknown = apply(Some("stale-acks"), false, "").err();
        let expected = "no mutant `stale-acks`; did you mean `stale-ack`?";
        assert_eq!(unknown.as_deref(), Some(expected));
    }
}
