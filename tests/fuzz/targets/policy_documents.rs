//! Policy files of any text: faults or a set, never a panic. Every fault has a place in the file, is the same the next time, and is shown
//! without characters that steer a terminal. A set without a fault compiles with every profile, and differs from itself in nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::baseline::{compile, trial};
use portcullis::policy::diff::difference;
use portcullis::policy::render::render;
use portcullis::policy::set::PolicySet;
use portcullis::policy::source::Source;
use portcullis::release::agreement::Agreements;

fuzz_target!(|text: &str| {
    let sources = [Source::inline("fuzz.yaml", text)];
    let read = || {
        let (set, mut faults) = PolicySet::from_sources(&sources);
        faults.extend(compile::check(&set));
        faults.extend(trial::check(&set));
        faults.extend(Agreements::compile(set.releases.values()).err().unwrap_or_default());
        let faults = set.illustrated(faults);
        (set, faults)
    };
    let (set, faults) = read();
    assert_eq!(faults, read().1);
    for fault in &faults {
        assert!(fault.place.line >= 1 && fault.place.column >= 1, "{fault}");
    }
    let shown = render(&faults, false);
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
    if faults.is_empty() {
        for baseline in set.baselines.keys() {
            compile::Compiled::compile(&set, baseline, None).expect("a set without a fault compiles");
        }
        assert_eq!(difference(&sources, &sources), []);
    }
});
