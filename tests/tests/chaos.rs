//! A short run of what `cargo xtask chaos` does for longer.

use std::time::Duration;

use forebay_tests::{Chaos, Plan};

#[test]
fn readers_see_only_pauses_while_everything_below_them_fails() {
    let plan = Plan::new(1, Duration::from_secs(20));
    let chaos = Chaos::run(&plan, |at, step| {
        println!("{:6.1} s  {step}", at.as_secs_f64())
    });
    assert!(chaos.is_unharmed(), "{chaos}");
    println!("{chaos}");
}
