//! The case corpus: public reports, re-enacted and recorded; each recording is diagnosed again.
//!
//! A case that is marked right in its `case.toml` must stay right, and one that has become right must be
//! marked so. `cargo xtask cases --record NAME` makes a recording anew, `NETQUEUE_UPDATE_CASES=1` marks every
//! case as it is judged: read the difference before you commit it.

mod corpus;

use std::{
    env,
    path::{Path, PathBuf},
};

use corpus::{Case, Judgement, Mark, judge, replay};

/// Folder of the corpus, or of the recordings of a live run.
fn folder() -> PathBuf {
    env::var_os("NETQUEUE_CASES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases"), PathBuf::from)
}

/// Writes the mark of today's tree into a case.
fn note(folder: &Path, known: Mark, mark: Mark) {
    let file = folder.join("case.toml");
    let text = std::fs::read_to_string(&file).expect("it was read before");
    let text = text.replacen(&format!("state = \"{known}\""), &format!("state = \"{mark}\""), 1);
    std::fs::write(file, text).expect("it can be written");
}

#[test]
fn the_score_of_the_corpus_does_not_fall() {
    let mut folders: Vec<_> =
        folder().read_dir().expect("the corpus").flatten().map(|entry| entry.path()).collect();
    folders.sort_unstable();
    let mut broken = Vec::new();
    let mut marks = Vec::new();
    for folder in folders {
        let case = Case::read(&folder);
        let recording = folder.join("recording.nqr");
        if !recording.is_file() {
            println!("{}: not recorded", case.name);
            continue;
        }
        let Judgement { mark, reasons } = judge(&case, &replay(&recording));
        marks.push((case.visible, mark));
        if mark != Mark::Right {
            println!("{mark:6} {}: {}", case.name, reasons.join("; "));
        }
        if env::var_os("NETQUEUE_UPDATE_CASES").is_some() {
            note(&folder, case.state, mark);
        } else if (mark == Mark::Right) != (case.state == Mark::Right) {
            broken.push(format!(
                "{}: {mark}, and its case.toml says {}: {}",
                case.name,
                case.state,
                reasons.join("; ")
            ));
        }
    }
    for visible in [true, false] {
        let count = |wanted| marks.iter().filter(|mark| **mark == (visible, wanted)).count();
        let whose = if visible { "netqueue can see" } else { "netqueue cannot see, and must not invent" };
        println!(
            "{} cases that {whose}: {} right, {} half, {} wrong, {} silent",
            marks.iter().filter(|mark| mark.0 == visible).count(),
            count(Mark::Right),
            count(Mark::Half),
            count(Mark::Wrong),
            count(Mark::Silent)
        );
    }
    assert!(broken.is_empty(), "the state of these cases is another now:\n{}", broken.join("\n"));
}
