//! Writes the code that is made of the .proto files into the source tree.

use std::path::Path;

fn main() -> anyhow::Result<()> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for schema in [proto_build::SERVER, proto_build::TESTS] {
        schema.write(&workspace, &workspace.join(schema.out))?;
    }
    Ok(())
}
