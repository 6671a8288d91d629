use countersign_formats::Ecosystem;
use countersign_registry::DocumentKey;
use countersign_testkit::packages::{Sdist, Wheel};

use crate::kit::TestRegistry;
use crate::on_both_databases;

on_both_databases! {
    async fn a_published_file_is_in_the_log_with_a_proof_and_in_the_index(test: TestRegistry) {
        let ann = test.user("ann").await;
        let wheel = Wheel::new("Demo_Pkg", "1.0").build();
        let receipt = test.publish(&ann, &wheel).await.unwrap();
        test.check_receipt(&receipt, &wheel);
        let sdist = Sdist::new("Demo_Pkg", "1.0").build();
        let second = test.publish(&ann, &sdist).await.unwrap();
        test.check_receipt(&second, &sdist);
        let index = test.registry.document(&DocumentKey::SimpleJson(Ecosystem::Pypi, "demo-pkg".into())).await.unwrap();
        let text = String::from_utf8(index.bytes.to_vec()).unwrap();
        assert!(text.contains(&wheel.sha256()) && text.contains(&sdist.sha256()), "{text}");
        let file = test.registry.file(&wheel.sha256(), &wheel.filename).await.unwrap();
        assert_eq!(file.memory.as_deref(), Some(&wheel.bytes[..]));
        let again = test.publish(&ann, &wheel).await.unwrap();
        assert!(again.repeated);
        assert_eq!(again.leaf, receipt.leaf);
    }
}
