// swift-tools-version: 6.0
import PackageDescription

let package = Package(
    name: "team",
    platforms: [.macOS(.v13)],
    dependencies: [.package(name: "Clave", path: "../../bindings/swift")],
    targets: [.executableTarget(name: "team", dependencies: ["Clave"])],
    swiftLanguageModes: [.v6]
)
