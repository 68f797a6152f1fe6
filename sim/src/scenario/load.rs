//! Scenarios from files, and files that take another file's run and expect something else of it.

use super::reader::{Problem, Reader, Source};
use super::settings::Settings as _;
use super::{Expect, Scenario};
use std::path::Path;
use toml::de::DeTable;

/// The key by which a file takes another one's run.
const SCENARIO: &str = "scenario";
const EXPECT: &str = "expect";

impl Scenario {
    /// Reads a file. One with `scenario = "../bugs/torn-tail.toml"` (from its own folder) is that
    /// scenario with an `[expect]` of its own: so a planted bug must be caught by the very run
    /// that passes without it. Marks to reach are those of both.
    pub fn load(path: &Path) -> Result<Scenario, String> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        let source = Source {
            file: &name,
            text: &text,
        };
        let Ok(table) = DeTable::parse(&text) else {
            // It says what is wrong, and where.
            return Scenario::parse(&name, &text).map_err(|problem| problem.to_string());
        };
        let reader = Reader::new(source, "", 0, table.get_ref());
        let Some(base) = reader.get(SCENARIO) else {
            return Scenario::parse(&name, &text).map_err(|problem| problem.to_string());
        };
        let Some(file) = base.text() else {
            return Err(base.problem("the name of a file belongs here").to_string());
        };
        let expect = expectation(&reader).map_err(|problem| problem.to_string())?;
        Ok(Scenario::load(&path.with_file_name(file))?.expecting(expect))
    }

    fn expecting(mut self, mut expect: Expect) -> Scenario {
        expect.reached.append(&mut self.head.expect.reached);
        self.head.expect = expect;
        self
    }
}

/// All that such a file says besides.
fn expectation(reader: &Reader<'_>) -> Result<Expect, Problem> {
    let Some(expect) = reader.get(EXPECT) else {
        let message = "a file that takes another one's run says what it expects of it, in [expect]";
        return Err(reader.problem_at(SCENARIO, message));
    };
    let table = expect.table()?;
    let expect = Expect::read(&table)?;
    table.done()?;
    reader.done()?;
    Ok(expect)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Check;
    use crate::scenario::Outcome;

    /// The reason why a file with this text is refused, or what it says.
    fn load(name: &str, text: &str) -> Result<Scenario, String> {
        let folder = std::env::temp_dir().join(format!("detcd-load-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let base = "[[workload]]\nkind = \"kv\"\n[expect]\nreached = [\"leader.deposed\"]\n";
        std::fs::write(folder.join("base.toml"), base).expect("a file");
        std::fs::write(folder.join("this.toml"), text).expect("a file");
        let loaded = Scenario::load(&folder.join("this.toml"));
        std::fs::remove_dir_all(&folder).expect("the folder is ours");
        loaded
    }

    #[test]
    fn a_file_takes_another_ones_run_and_expects_its_own_end() {
        let text = "scenario = \"base.toml\"\n[expect]\nresult = \"caught\"\nmutant = \"x\"\n\
                    caught_by = [\"watch\"]\nreached = [\"snapshot.built\"]\n";
        let scenario = load("taken", text).expect("it is right");
        assert_eq!(scenario.workloads.len(), 1);
        let expect = scenario.expect();
        assert_eq!(expect.result, Outcome::Caught);
        assert_eq!(expect.caught_by, [Check::Watch]);
        assert_eq!(expect.reached, ["snapshot.built", "leader.deposed"]);
    }

    #[test]
    fn it_says_nothing_else() {
        let refused = |name, text| load(name, text).expect_err("it is wrong");
        let lone = refused("lone", "scenario = \"base.toml\"\n");
        assert!(
            lone.contains("this.toml:1:") && lone.contains("[expect]"),
            "{lone}"
        );
        let more = "scenario = \"base.toml\"\nbudget = \"3s\"\n[expect]\nresult = \"pass\"\n";
        let more = refused("more", more);
        assert!(
            more.contains("this.toml:2:") && more.contains("budget"),
            "{more}"
        );
        let missing = refused(
            "missing",
            "scenario = \"none.toml\"\n[expect]\nresult = \"pass\"\n",
        );
        assert!(missing.contains("none.toml"), "{missing}");
    }
}
