use crate::machine::Desk;

#[test]
fn the_demo_does_every_step_and_leaves_nothing_behind() {
    let desk = Desk::new();
    let temporary = desk.path("tmp");
    std::fs::create_dir_all(&temporary).unwrap();
    let mut command = desk.command(&["demo"]);
    command.env("TMPDIR", &temporary);
    let ran = crate::machine::ran(command).expect(
        0,
        &[
            "✓ A registry runs at http://localhost:",
            "published countersign_demo-1.0.0-py3-none-any.whl",
            "pip installed it",
            "proof holds offline",
            "pip refuses it",
            "The verifier refuses it too",
            "All 8 steps",
        ],
    );
    assert!(!ran.out.contains('✗'), "{ran:?}");
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
    assert!(!desk.data().exists());
}
