//! As much of protoc as prost's build scripts call: `protoc --include_imports
//! --include_source_info -o OUT -I DIR... FILE...` writes the descriptors of the files to OUT.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut includes, mut files, mut out) = (Vec::new(), Vec::new(), None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match &arg[..] {
            "--version" => {
                println!("libprotoc 30.0");
                return Ok(());
            }
            "--include_imports" | "--include_source_info" => {}
            "-o" => out = args.next(),
            "-I" => includes.extend(args.next()),
            flag if flag.starts_with('-') => return Err(format!("{flag}?").into()),
            _ => files.push(arg),
        }
    }
    let mut compiler = protox::Compiler::new(includes)?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(files)?;
    std::fs::write(out.ok_or("no -o")?, compiler.encode_file_descriptor_set())?;
    Ok(())
}
