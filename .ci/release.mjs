/**
 * Checks before a release, by the workflow `publish`:  node .ci/release.mjs TAG
 *
 * The owner of the repository sets `repository`, `homepage` and `bugs` in package.json. npm shows them, and refuses
 * the provenance of a package whose `repository` is not the one that the workflow belongs to.
 */
import { readFileSync } from 'node:fs'

const read = (path) => readFileSync(new URL(path, import.meta.url), 'utf8')

const tag = process.argv[2]
const { version, repository, homepage, bugs } = JSON.parse(read('../package.json'))
const repositoryUrl = typeof repository === 'string' ? repository : repository?.url
const bugsUrl = typeof bugs === 'string' ? bugs : bugs?.url
/** OWNER/NAME in the workflow. */
const own = process.env.GITHUB_REPOSITORY

const problems = []

for (const [field, value, commands] of [
  [
    'repository',
    repositoryUrl,
    'npm pkg set repository.type=git repository.url=git+https://github.com/OWNER/NAME.git',
  ],
  ['homepage', homepage, 'npm pkg set homepage=https://github.com/OWNER/NAME#readme'],
  ['bugs', bugsUrl, 'npm pkg set bugs.url=https://github.com/OWNER/NAME/issues'],
]) {
  if (!value) problems.push(`package.json has no ${field}. Set it: ${commands}`)
}

if (repositoryUrl && own && !repositoryUrl.toLowerCase().includes(`github.com/${own.toLowerCase()}`)) {
  problems.push(`repository of package.json is ${repositoryUrl}, but this is github.com/${own}`)
}
if (tag !== `v${version}`) {
  problems.push(
    `The tag is ${tag}, but the version of package.json is ${version}: the tag must be v${version}`,
  )
}
if (!read('../CHANGELOG.md').includes(`\n## [${version}]`)) {
  problems.push(`CHANGELOG.md has no section ## [${version}]: rename [Unreleased], with the date`)
}

for (const problem of problems) console.error(problem)
process.exitCode = problems.length > 0 ? 1 : 0
