//! The bank: at every revision, and in whatever is read of all accounts at once, the balances have
//! the same sum, and none of the accounts is missing.

use super::group::{self, Group};
use super::{Facts, Finding};
use crate::client_records::Bank;
use crate::history::{first_number, text};

pub fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let banks = facts.history.banks.iter();
    banks
        .flat_map(|bank| group::judge(facts, &bank.range, |accounts| is_right(bank, accounts)))
        .collect()
}

fn is_right(bank: &Bank, accounts: &Group) -> Result<(), String> {
    if accounts.len() != bank.accounts {
        let (there, opened) = (accounts.len(), bank.accounts);
        return Err(format!("there are {there} accounts of {opened}"));
    }
    let mut sum = 0;
    for (key, value) in accounts {
        let balance = first_number::<u64>(value);
        let balance = balance
            .ok_or_else(|| format!("account {} has no balance but {}", text(key), text(value)))?;
        sum += balance;
    }
    if sum != bank.total {
        let balances: Vec<String> = accounts.values().map(|value| text(value)).collect();
        let (total, balances) = (bank.total, balances.join(", "));
        return Err(format!(
            "the accounts have {sum} together and not {total}: {balances}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Clocks;
    use crate::workload::ops;

    fn is_wrong(written: &[&[&str]], seen: &[&str]) -> bool {
        let mut history = group::forged("bank", written, seen);
        history.banks.push(Bank {
            range: ops::prefix("bank/"),
            accounts: 2,
            total: 200,
        });
        !check(&Facts::of(&history, Clocks::TRUE)).is_empty()
    }

    #[test]
    fn money_that_only_moves_is_fine() {
        let written: [&[&str]; 2] = [&["100 a", "100 b"], &["70 c", "130 c"]];
        assert!(!is_wrong(&written, &["70 c", "130 c"]));
        // A serializable read may show the past.
        assert!(!is_wrong(&written, &["100 a", "100 b"]));
    }

    #[test]
    fn forged_histories_are_found() {
        let opened: &[&str] = &["100 a", "100 b"];
        // Half a transfer, in the store and in a read.
        assert!(is_wrong(&[opened, &["70 c", "100 b"]], opened));
        assert!(is_wrong(&[opened, &["70 c", "130 c"]], &["70 c", "100 b"]));
        // An account that is not there, or is no account.
        assert!(is_wrong(&[opened], &["200 a"]));
        assert!(is_wrong(&[opened, &["200 c", "nothing"]], opened));
    }
}
