/** The alias under which Express 4 is installed here. Its types are near enough those of Express 5. */
declare module 'express4' {
  import express from 'express'
  export default express
}
