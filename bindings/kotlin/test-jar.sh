#!/usr/bin/env bash
# That the jar is all an app needs of us: makes it, and compiles and runs a program against it in an empty directory, which has neither
# this repository nor a library on its path. PROFILE as for jar.sh.
set -euo pipefail
here=$(realpath "$(dirname "$0")")
toolchain=$("$here/../../scripts/kotlin-toolchain.sh")
eval "$toolchain"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$here/jar.sh" "$work/clave.jar" "${1:-dev}"
cd "$work"
cat > App.kt <<'KOTLIN'
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import org.clave.*

fun main(arguments: Array<String>) = runBlocking<Unit> {
    val node = Node.create(NodeOptions(arguments[0]), "小波", "JVM")
    val timeline = node.createSpace("团队").timeline()
    timeline.send("你好 👋")
    val shown = timeline.messages().first { it.isNotEmpty() }
    check(shown.single().body == "你好 👋" && shown.single().author.isMe) { "$shown" }
    node.shutdown()
    println("clave ${version()} from its jar: ${shown.single().body}")
}
KOTLIN
$KOTLINC -cp "clave.jar:$KOTLIN_CLASSPATH" -d app -jvm-target 17 App.kt
$KOTLIN -cp "app:clave.jar:$KOTLIN_CLASSPATH" AppKt "$work/device"
