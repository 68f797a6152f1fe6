//! Where batches of entries begin and end does not matter.

use crate::generate::{command, config};
use crate::store::Store;
use proptest::prelude::*;

proptest! {
    #![proptest_config(config("kv-borders", 200))]

    #[test]
    fn any_split_into_batches_gives_the_same_rows(
        commands in prop::collection::vec(command(), 1..40),
        sizes in prop::collection::vec(1usize..12, 1..40),
    ) {
        let mut one_by_one = Store::new();
        let singly: Vec<_> =
            commands.iter().map(|command| one_by_one.apply(command.clone())).collect();
        let mut batched = Store::new();
        let mut together = Vec::new();
        let mut rest = &commands[..];
        for size in sizes.into_iter().chain(std::iter::repeat(commands.len())) {
            let (batch, left) = rest.split_at(size.min(rest.len()));
            together.extend(batched.apply_batch(batch));
            rest = left;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(&one_by_one.tables, &batched.tables);
        for (alone, within) in singly.iter().zip(&together) {
            prop_assert_eq!(&alone.outcome, &within.outcome);
            prop_assert_eq!(&alone.changes, &within.changes);
            prop_assert_eq!(&alone.lease, &within.lease);
        }
    }
}
